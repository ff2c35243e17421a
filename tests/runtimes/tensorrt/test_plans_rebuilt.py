"""TensorRT plans that are missing or no longer fit: built when a model is opened, and compared before use."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import ModelProto

from sam_edge import Prompt
from sam_edge.bundle.folder import Bundle
from sam_edge.cli import main
from sam_edge.errors import EngineError, FidelityError, PlanError
from sam_edge.fidelity.images import textured_image
from sam_edge.imaging.image import write_image
from sam_edge.loading import load
from sam_edge.runtimes.tensorrt.plan_cache import key_path
from sam_edge.storage.files import sha256
from tests.runtimes.tensorrt.simulated_device import Device
from tests.toy_model import toy_bundle, with_answers


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return with_answers(toy_bundle(tmp_path))


def wrong_kernel(graph: ModelProto) -> None:
    for node in graph.graph.node:
        node.op_type = {"Sqrt": "Neg"}.get(node.op_type, node.op_type)


def outgrow(device: Device) -> None:
    """Another driver than all plans were built for."""
    for key in device.folder.glob("*.json"):
        key.write_text(key.read_text().replace('"driver": "', '"driver": "old-'))


def damage_plan(device: Device) -> None:
    plan = next(device.folder.glob("decoder-*.plan"))
    plan.write_bytes(plan.read_bytes() + b"!")


def damage_key(device: Device) -> None:
    key_path(next(device.folder.glob("encoder-*.plan"))).write_text("{")


def spoil_magic(device: Device) -> None:
    """A plan that fits by its key and its hash, and that TensorRT refuses all the same."""
    plan = next(device.folder.glob("encoder-*.plan"))
    old = sha256(plan)
    plan.write_bytes(b"strange:" + plan.read_bytes())
    key = key_path(plan)
    key.write_text(key.read_text().replace(old, sha256(plan)))


def test_the_first_opening_builds_compares_and_says_so(
    model: Bundle, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    with load(model.path, runtime="tensorrt") as segmenter:
        masks = segmenter.decode(segmenter.encode(textured_image((160, 120))), Prompt.points([(80, 60)]))
    assert masks.binary.any()
    assert device.built == ["encoder.onnx", "decoder.onnx"]
    said = [record.getMessage() for record in caplog.records]
    assert said[0].endswith("encoder.onnx has no TensorRT plan for this device yet")
    assert said.count("building encoder") == said.count("building decoder") == 1
    assert said[-1] == "tensorrt:cuda fp32: mask IoU 1.0000 against PyTorch"
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    caplog.clear()
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == 2
    assert not caplog.records


@pytest.mark.parametrize(
    ("happens", "reason", "built"),
    [
        (outgrow, "it was built for driver old-", 2),
        (damage_plan, "was damaged and has been removed", 1),
        (damage_key, "json was damaged and has been removed", 1),
        (spoil_magic, "Magic tag does not match", 1),
    ],
)
def test_a_plan_that_cannot_be_used_is_built_anew_and_why_is_said(
    happens: Callable[[Device], None],
    reason: str,
    built: int,
    model: Bundle,
    device: Device,
    caplog: pytest.LogCaptureFixture,
) -> None:
    load(model.path, runtime="tensorrt").close()
    happens(device)
    device.built.clear()
    caplog.clear()
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == built
    first = caplog.records[0].getMessage()
    assert reason in first
    assert "sam-edge build" not in first


def test_a_plan_that_computes_something_else_is_never_used(model: Bundle, device: Device) -> None:
    device.spoil = wrong_kernel
    with pytest.raises(FidelityError, match="answers otherwise than PyTorch did at export: mask_iou_mean"):
        load(model.path, runtime="tensorrt")
    assert device.names() == [".blob", ".refused", ".refused"]


def test_the_command_refuses_it_too(
    model: Bundle, device: Device, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_edge.runtimes.tensorrt.cli.find_build_environment", device.environment)
    device.spoil = wrong_kernel
    assert main(["build", str(model.path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    error = captured.err.splitlines()[-1]
    assert error.startswith("error: tensorrt:cuda fp32 answers otherwise")
    assert error.endswith(
        "its plans were removed: run sam-edge verify "
        f"{model.path} --runtime tensorrt:cuda --precision fp32, which mends what it can"
    )
    device.spoil = lambda graph: None
    assert main(["build", str(model.path)]) == 0
    assert capsys.readouterr().err.endswith("tensorrt:cuda fp32: mask IoU 1.0000 against PyTorch\n")


def test_a_folder_without_answers_is_not_called_compared(
    tmp_path: Path, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    load(toy_bundle(tmp_path).path, runtime="tensorrt").close()
    assert "was not compared" in caplog.records[-1].getMessage()


def test_a_command_that_opens_a_model_builds_too(
    model: Bundle, device: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path / "a.png", textured_image((160, 120)))
    arguments = ["segment", str(tmp_path / "a.png"), "--point", "80,60", "--model", str(model.path)]
    assert main([*arguments, "--runtime", "tensorrt"]) == 0
    assert len(device.built) == 2
    assert "building decoder" in [record.getMessage() for record in caplog.records]


def test_what_cannot_be_built_is_the_error(model: Bundle, device: Device) -> None:
    device.builds_at_most = 1
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 cannot build ") as caught:
        load(model.path, runtime="tensorrt")
    assert isinstance(caught.value.__context__, PlanError)
