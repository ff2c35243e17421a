"""`sam-edge export` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sam_edge.bundle.folder import find_bundle
from sam_edge.cli import main
from sam_edge.exporters import export as export_module
from sam_edge.exporters import gating
from sam_edge.fidelity.images import textured_image
from sam_edge.fidelity.result import FidelityResult
from sam_edge.imaging.image import write_image
from sam_edge.modeling import families
from sam_edge.modeling.exportable import GraphSource
from tests.exporters.lint.graphs import node
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import TINY, tiny_sam


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(families.FAMILIES, "tiny", TINY)
    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    torch.save(tiny_sam().state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a command that must exit with 2."""
    assert main(["export", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *steps, line = captured.err.splitlines()
    assert line.startswith("error: ")
    assert set(steps) <= {"reading weights"}
    return line


def photo(folder: Path) -> Path:
    """The folder, with one image in it."""
    folder.mkdir()
    write_image(folder / "a.png", textured_image((128, 96)))
    return folder


def test_export_and_its_summary(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "models" / "mine"
    assert main(["export", str(checkpoint), "--family", "tiny", "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["family"], document["name"]) == ("tiny", "mine")
    assert find_bundle(out).graph("refine").is_file()
    # Again, over the first, in words, and with a licence that says no.
    monkeypatch.setitem(families.FAMILIES, "tiny", replace(TINY, licence="X 1.0 (Non-commercial)"))
    more = ("--precision", "fp16", "--images", str(photo(tmp_path / "photos")))
    assert main(["export", str(checkpoint), "--out", str(out), "--name", "second", *more]) == 0
    answer, warning = capsys.readouterr()
    assert "licence of the weights: X 1.0 (Non-commercial)" in answer
    *steps, warning = warning.splitlines()
    assert warning == "warning: these weights may not be used commercially: X 1.0 (Non-commercial)"
    assert (steps[0], steps[-1]) == ("reading weights", "done")
    assert "comparing onnxruntime:cpu fp32 with PyTorch" in steps
    for engine in ("onnxruntime:cpu fp32", "emulation fp16", "onnxruntime:cpu fp16"):
        assert f"second on {engine}: mask IoU " in answer
    assert find_bundle(out).manifest.name == "second"
    assert [path.name for path in out.parent.iterdir()] == ["mine"]


def test_refusals_are_one_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    (tmp_path / "text.pth").write_text("no weights")
    assert "cannot read nowhere.pth" in refused(capsys, "nowhere.pth", "--out", out)
    assert "is not a checkpoint" in refused(capsys, str(tmp_path / "text.pth"), "--out", out)
    assert "choose one of sam_vit_b" in refused(capsys, str(checkpoint), "--family", "sam", "--out", out)
    assert "holds weights of tiny, not of nano: check --family" in refused(
        capsys, str(checkpoint), "--family", "nano", "--out", out
    )
    assert "not a model" in refused(capsys, str(checkpoint), "--out", str(tmp_path))
    assert "--out" in refused(capsys, str(checkpoint))
    both = (str(checkpoint), "--out", out)
    assert "--target 'tpu': choose of onnxruntime" in refused(capsys, *both, "--target", "openvino,tpu")
    assert "--precision 'int3'" in refused(capsys, *both, "--precision", "int3")
    assert "is not of the form WxH" in refused(capsys, *both, "--input", "1024")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused(capsys, *both, "--images", str(tmp_path / "empty"))
    (tmp_path / "empty").rmdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.pth", "tiny.pth"]


def writing_also(*nodes: onnx.NodeProto) -> Callable[[GraphSource, Path], Path]:
    """An exporter that adds nodes to the decoder, whose answers nobody reads."""

    def write(source: GraphSource, folder: Path) -> Path:
        path = kept_graph(source, folder)
        if source.name == "decoder":
            model = onnx.load(path)
            scales = np.array([1, 1, 2, 2], np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(scales, "scales"))
            model.graph.node.extend(nodes)
            onnx.save(model, path)
        return path

    return write


def test_what_tensorrt_may_not_like_is_said_once_a_kind(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cubic = [node("Resize", "logits - scales", name, mode="cubic") for name in ("large", "larger")]
    # Two nodes of one name are not allowed; one without a name is called by what it makes.
    for one in cubic:
        one.name = ""
    monkeypatch.setattr(export_module, "write_graph", writing_also(*cubic))
    arguments = ("--out", str(tmp_path / "out"), "--target", "onnxruntime,tensorrt", "--json")
    assert main(["export", str(checkpoint), *arguments]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["family"] == "tiny"
    (line,) = [line for line in captured.err.splitlines() if "warning" in line]
    assert line.startswith("decoder.onnx: warning: node that makes large (Resize): it is cubic")
    assert line.endswith("sam-edge verify --runtime tensorrt (2 nodes)")


def test_what_tensorrt_cannot_take_exits_with_1(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "write_graph", writing_also(node("Det", "logits", "size")))
    assert main(["export", str(checkpoint), "--out", str(tmp_path / "out"), "--target", "tensorrt"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    *_, line = captured.err.splitlines()
    assert line.startswith("error: TensorRT cannot take decoder.onnx: node the Det (Det): TensorRT's ")
    assert "nothing was written" in line
    assert captured.err.count("error") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.pth"]


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from sam_edge.cli import main
sys.exit(main(["export", "any.pth", "--out", "out"]))
"""


def test_an_engine_that_differs_exits_with_1(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gating, "measure_engine", lambda *_: FidelityResult())
    arguments = ("--out", str(tmp_path / "out"), "--images", str(photo(tmp_path / "photos")))
    assert main(["export", str(checkpoint), *arguments]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: onnxruntime:cpu fp32 differs from the model: mask_iou_mean nan < 0.999")
    assert not (tmp_path / "out").exists()


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "any.pth").touch()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: torch is not installed: pip install 'sam-edge[export]'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["any.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.pth", "--out", "out"), "cannot read nowhere.pth: no such file"),
        (("any.pth", "--out", "."), ". is the folder you are in"),
        (("any.pth", "--out", "any.pth"), "any.pth is a file"),
        (("any.pth", "--out", "out", "--images", "nowhere"), "--images nowhere is not a folder"),
        (("folder", "--out", "out"), "cannot read folder: it is not a file"),
        (("any.pth", "--out", "any.pth/out"), "cannot write any.pth/out"),
        (("any.pth", "--out", "out", "--input", "16x16"), "--input 16x16: sides are multiples of 16 from 32"),
        (("any.pth", "--out", "out", "--input", "1000x576"), "--input 1000x576"),
        (("any.pth", "--out", "out", "--input", "1024x99999"), "--input 1024x99999"),
        (("any.pth", "--out", "out", "--name", "a\nb"), "the model's name is 'a\\nb'"),
        (("any.pth", "--out", "out", "--max-points", "2"), "--max-points"),
    ],
)
def test_what_is_wrong_is_said_before_pytorch_is_imported(
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "any.pth").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert message in refused(capsys, *arguments)


def test_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    assert "sam-edge export mobile_sam.pt --family mobile_sam --out mobile_sam/" in capsys.readouterr().out
