"""`sam-edge export` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam_edge.bundle import find_bundle
from sam_edge.cli import main
from sam_edge.modeling import families
from tests.modeling.tiny_sam import TINY, tiny_sam


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(families.FAMILIES, "tiny", TINY)
    torch.save(tiny_sam().state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a command that must exit with 2."""
    assert main(["export", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_export_and_its_summary(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "models" / "mine"
    assert main(["export", str(checkpoint), "--family", "tiny", "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["family"], document["name"]) == ("tiny", "mine")
    assert find_bundle(out).graph("refine").is_file()
    # Again, over the first, in words.
    assert main(["export", str(checkpoint), "--out", str(out), "--name", "second"]) == 0
    answer = capsys.readouterr().out
    assert "licence of the weights: none" in answer
    assert "onnxruntime against PyTorch: embedding" in answer
    assert find_bundle(out).manifest.name == "second"
    assert [path.name for path in out.parent.iterdir()] == ["mine"]


def test_refusals_are_one_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    (tmp_path / "text.pth").write_text("no weights")
    assert "cannot read nowhere.pth" in refused(capsys, "nowhere.pth", "--out", out)
    assert "is no checkpoint" in refused(capsys, str(tmp_path / "text.pth"), "--out", out)
    assert "choose one of sam_vit_b" in refused(capsys, str(checkpoint), "--family", "sam", "--out", out)
    assert "does not fit nano: missing" in refused(capsys, str(checkpoint), "--family", "nano", "--out", out)
    assert "no model" in refused(capsys, str(checkpoint), "--out", str(tmp_path))
    assert "--out" in refused(capsys, str(checkpoint))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.pth", "tiny.pth"]


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from sam_edge.cli import main
sys.exit(main(["export", "any.pth", "--out", "out"]))
"""


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: torch is not installed: pip install 'sam-edge[export]'\n"
    assert list(tmp_path.iterdir()) == []


def test_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    assert "sam-edge export mobile_sam.pt --family mobile_sam --out mobile_sam/" in capsys.readouterr().out
