"""`sam-edge verify` on devices that lack libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sam_edge.errors import MissingExtraError
from sam_edge.exporters.trusted import trusted_runtime
from sam_edge.sessions import choice as runtime

WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from sam_edge.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_device_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    arguments = ["verify", "nano", "--runtime", "onnxruntime", "--limit", "1", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "torch,onnx,onnxscript", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "pass" in done.stdout
    assert done.stdout.endswith("nothing was stored: --dry-run\n")


def test_the_cure_of_a_missing_reference_is_the_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime, and not the evaluator of onnx, whose extra brings torch."""
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"onnxruntime is not installed: pip install 'sam-edge\[cpu\]'"):
        trusted_runtime()
