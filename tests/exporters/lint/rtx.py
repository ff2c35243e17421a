"""NVIDIA's builder that needs no GPU, where it is installed, and plans that it really builds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from sam_edge.bundle.shapes import ShapeRange
from sam_edge.exporters.lint.tensorrt import lint
from sam_edge.runtimes.tensorrt.api import TensorRtModule
from sam_edge.runtimes.tensorrt.build import BuilderSettings, Built, build_plan


def find_rtx() -> Any:
    """The module, or a skipped test."""
    return pytest.importorskip(
        "tensorrt_rtx_bindings", reason="NVIDIA's builder is not installed: pip install --group rtx"
    )


class _Builder:
    """TensorRT for RTX has to be given a device to build for: an RTX 30, the nearest to Orin that it knows."""

    def __init__(self, rtx: Any, logger: Any) -> None:
        self._rtx = rtx
        self._builder = rtx.Builder(logger)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_builder_config(self) -> Any:
        config = self._builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(self._rtx.ComputeCapability.SM86, 0)
        return config


class Rtx30:
    """The module, building for an RTX 30."""

    def __init__(self, rtx: Any) -> None:
        self._rtx = rtx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rtx, name)

    def Builder(self, logger: Any) -> Any:  # noqa: N802  # TensorRT's name
        return _Builder(self._rtx, logger)


def build(rtx: Any, path: Path, shapes: Mapping[str, ShapeRange] | None = None, **options: Any) -> Built:
    """A plan for an RTX 30."""
    settings = BuilderSettings(shapes=shapes or {})
    return build_plan(cast(TensorRtModule, Rtx30(rtx)), path, settings, 512, **options)


def really_built(rtx: Any, path: Path, shapes: Mapping[str, ShapeRange]) -> Built:
    """A plan for an RTX 30; the lint has nothing against the graph."""
    assert lint(path, shapes) == []
    shares: list[float] = []
    answer = build(rtx, path, shapes, progress=shares.append)
    assert answer.timing is None
    assert shares
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    return answer
