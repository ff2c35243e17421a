"""The start is measured in interpreters of their own, with the one runtime that was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.speed import startup
from sam_edge.benchmarks.speed.startup import FIRST_MASK, RUN, main, simulated_gaze
from sam_edge.errors import EngineError

SAY_LIBRARIES = "\nprint(*[name for name in ('onnxruntime', 'openvino') if name in sys.modules])"


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """Three frames."""
    path = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for value in (0, 90, 180):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    return path


@pytest.fixture
def touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once any new interpreter has imported openvino, which is broken in them all."""
    mark = tmp_path / "touched"
    package = tmp_path / "path" / "openvino"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(mark)!r}, 'w').close()\nraise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)
    return mark


def libraries(code: str, *arguments: str) -> list[str]:
    """The runtimes' libraries that `code` has imported when it ends."""
    command = [sys.executable, "-c", code + SAY_LIBRARIES, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].split()


def test_no_other_runtime_is_imported_for_the_first_mask() -> None:
    assert libraries(FIRST_MASK, "onnxruntime") == ["onnxruntime"]


def test_no_other_runtime_is_imported_for_the_run(clip: str, tmp_path: Path) -> None:
    outputs = [str(tmp_path / "out.jsonl"), "--gaze", simulated_gaze(tmp_path)]
    assert libraries(RUN, clip, *outputs, "--runtime", "onnxruntime") == ["onnxruntime"]


def test_both_numbers_are_of_the_runtime_that_was_asked_for(
    clip: str, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "REPEATS", 1)
    answer = CliRunner().invoke(main, ["--runtime", "onnxruntime", "--source", clip, "--json"])
    assert answer.exit_code == 0
    numbers = json.loads(answer.output)
    assert numbers["runtime"] == "onnxruntime"
    assert numbers["first_mask_s"] > 0
    assert numbers["run_peak_rss_mb"] > 50
    assert not touched.exists()


def test_the_first_mask_asks_for_it(touched: Path) -> None:
    with pytest.raises(EngineError, match="openvino is installed but cannot be loaded"):
        startup.first_mask_s("openvino")
    assert touched.exists()


def test_the_run_asks_for_it(clip: str, touched: Path, tmp_path: Path) -> None:
    gaze = simulated_gaze(tmp_path)
    with pytest.raises(EngineError, match="openvino is installed but cannot be loaded"):
        startup.run_memory_mb(clip, gaze, "openvino")
    assert touched.exists()


def test_memory_is_not_that_of_the_program_that_measures(clip: str, tmp_path: Path) -> None:
    ballast = np.ones(600 << 20, np.uint8)
    assert startup.run_memory_mb(clip, simulated_gaze(tmp_path), "onnxruntime") < 500
    del ballast


@pytest.mark.parametrize(
    ("code", "message"),
    [("import sys; sys.exit(3)", "the measured program ended with 3"), ("raise ValueError('why')", "why")],
)
def test_what_fails_is_said(code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "FIRST_MASK", code)
    answer = CliRunner().invoke(main, [])
    assert (answer.exit_code, answer.stderr) == (2, f"error: {message}\n")
