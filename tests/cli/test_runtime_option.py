"""--runtime means the same on every command, and says what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_edge.cli import main
from sam_edge.host import nvidia_driver as driver
from tests.host.machines import FakeDriver


@pytest.mark.parametrize("command", [["segment"], ["run"], ["demo"], ["eval", "points"], ["eval", "video"]])
def test_every_command_takes_it(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    help_text = capsys.readouterr().out
    assert "--runtime NAME[:DEVICE]" in help_text
    assert "sam-edge doctor" in " ".join(help_text.split())


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("tpu", "unknown runtime 'tpu': choose one of onnxruntime, "),
        ("onnxruntime:tpu", "choose one of onnxruntime:cpu, onnxruntime:cuda, onnxruntime:tensorrt"),
        ("onnxruntime:cuda", "it sees no CUDA device"),
        ("", "unknown runtime ''"),
    ],
)
def test_what_is_not_here_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runtime: str,
    message: str,
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")
    real = driver.probe
    monkeypatch.setattr(driver, "probe", lambda: real(FakeDriver(start=100)))
    image, mask = tmp_path / "grey.png", tmp_path / "mask.png"
    cv2.imwrite(str(image), np.full((32, 48, 3), 128, np.uint8))
    assert main(["segment", str(image), "--point", "9,9", "--runtime", runtime, "--out", str(mask)]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert not mask.exists()
