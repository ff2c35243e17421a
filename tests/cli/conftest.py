"""The command line on a model whose answers are known."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from sam_edge import runtime, scores
from sam_edge.cli import main
from sam_edge.exporters import tensorrt_open
from sam_edge.runtimes import tensorrt
from tests.disc_model import disc_bundle
from tests.exporters.simulated_device import Device


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def sam_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command in an empty folder that has a model in `disc`, computed by the runtime `disc`."""
    disc_bundle(tmp_path)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    disc = runtime.Entry("tests.disc_model:DiscRuntime", "numpy", scores.anywhere)
    monkeypatch.setattr(runtime, "RUNTIMES", {"disc": disc})

    def call(*arguments: str) -> Answer:
        code = main(list(arguments))
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT, as far as the table of runtimes looks, an empty cache, and a place for temporary files."""
    entry = replace(runtime.RUNTIMES["tensorrt"], library="onnxruntime")
    monkeypatch.setattr(runtime, "RUNTIMES", {**runtime.RUNTIMES, "tensorrt": entry})
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def device(installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device(tmp_path / "cache" / "tensorrt")
    monkeypatch.setattr(tensorrt, "find_gpu", lambda index=0: device.simulation.gpu)
    monkeypatch.setattr(tensorrt_open, "find_workshop", device.workshop)
    return device
