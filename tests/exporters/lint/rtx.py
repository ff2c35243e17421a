"""NVIDIA's builder that needs no GPU, where it is installed, and plans that it really builds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sam_edge.bundle.shapes import ShapeRange
from sam_edge.exporters.lint.tensorrt import lint
from sam_edge.runtimes.tensorrt.build import Built, build_plan
from sam_edge.runtimes.tensorrt.settings import BuilderSettings


def find_rtx() -> Any:
    """The module, or a skipped test."""
    return pytest.importorskip(
        "tensorrt_rtx_bindings", reason="NVIDIA's builder is not installed: pip install --group rtx"
    )


def really_built(rtx: Any, path: Path, shapes: Mapping[str, ShapeRange]) -> Built:
    """A plan for an RTX 30, the nearest to Orin that this builder knows; the lint has nothing against it."""
    assert lint(path, shapes) == []
    shares: list[float] = []
    settings = BuilderSettings(shapes=shapes, compute_capability="8.6")
    answer: Built = build_plan(rtx, path, settings, 512, progress=shares.append)
    assert answer.timing is None
    assert shares
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    return answer
