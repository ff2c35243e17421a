"""Plans that are missing or damaged are built when a model is opened, and compared before anybody uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto

from sam_edge import Prompt
from sam_edge.bundle.folder import Bundle
from sam_edge.cli import main
from sam_edge.errors import EngineError, FidelityError, OutputError, PlanError
from sam_edge.fidelity.images import textured_image
from sam_edge.loading import load
from sam_edge.runtimes.tensorrt import prepare
from sam_edge.runtimes.tensorrt.cache import PlanCache
from sam_edge.storage.files import sha256
from tests.runtimes.tensorrt.simulated_device import Device
from tests.toy_model import toy_bundle, with_answers


@pytest.fixture
def model(tmp_path: Path) -> Bundle:
    return with_answers(toy_bundle(tmp_path))


def wrong_kernel(graph: ModelProto) -> None:
    for node in graph.graph.node:
        node.op_type = {"Sqrt": "Neg"}.get(node.op_type, node.op_type)


def right_kernel(graph: ModelProto) -> None:
    """Nothing is wrong."""


def damage_plan(device: Device) -> None:
    device.plan("decoder").write_bytes(b"!")


def damage_seal(device: Device) -> None:
    plan = device.plan("encoder")
    plan.with_name(f"{plan.name}.json").write_text("{")


def remove_late_plan(device: Device) -> None:
    """Of a graph that is opened when it is first needed."""
    PlanCache(device.folder).discard(device.plan("decoder"))


def spoil_magic(device: Device) -> None:
    """A plan that fits by its name and its hash, and that TensorRT refuses all the same."""
    plan = device.plan("encoder")
    old = sha256(plan)
    plan.write_bytes(b"strange:" + plan.read_bytes())
    seal = plan.with_name(f"{plan.name}.json")
    seal.write_text(seal.read_text().replace(old, sha256(plan)))


def break_off(model: Bundle, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Build plans whose comparison ends with an error."""

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "run_self_test", fail)
        with pytest.raises(type(error)):
            load(model.path, runtime="tensorrt")


def test_the_first_opening_builds_and_compares(
    model: Bundle, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[str] = []

    def progress(step: str, done: float | None = None) -> None:
        steps.append(step)

    with load(model.path, runtime="tensorrt", progress=progress) as segmenter:
        masks = segmenter.decode(segmenter.encode(textured_image((160, 120))), Prompt.points([(80, 60)]))
    assert masks.binary.any()
    assert device.built == ["encoder.onnx", "decoder.onnx"]
    assert {"building encoder", "building decoder"} <= set(steps)
    assert len(steps) == len(set(steps))
    assert "IoU 1.0000" in steps[-1]
    assert "encoder.onnx" in caplog.text
    caplog.clear()
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == 2
    assert not caplog.records


@pytest.mark.parametrize("happens", [damage_plan, damage_seal, spoil_magic, remove_late_plan])
def test_a_plan_that_cannot_be_used_is_built_again(
    happens: Callable[[Device], None], model: Bundle, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    load(model.path, runtime="tensorrt").close()
    happens(device)
    device.built.clear()
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == 1
    assert caplog.records


def test_a_plan_that_computes_something_else_is_never_used(model: Bundle, device: Device) -> None:
    device.spoil = wrong_kernel
    with pytest.raises(FidelityError, match="mask_iou_mean") as caught:
        load(model.path, runtime="tensorrt")
    assert caught.value.hint is not None
    assert "sam-edge verify" in caught.value.hint
    assert device.names() == [".blob"]


def test_a_folder_without_answers_is_not_called_compared(
    tmp_path: Path, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    load(toy_bundle(tmp_path).path, runtime="tensorrt").close()
    assert "was not compared" in caplog.text


def test_what_cannot_be_built_is_the_error(model: Bundle, device: Device) -> None:
    device.builds_at_most = 1
    with pytest.raises(EngineError, match="cannot build") as caught:
        load(model.path, runtime="tensorrt")
    assert isinstance(caught.value.__context__, PlanError)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("out of device memory")])
def test_after_a_comparison_that_broke_off_plans_are_compared_and_not_built_again(
    error: BaseException, model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(model, monkeypatch, error)
    load(model.path, runtime="tensorrt").close()
    device.spoil = wrong_kernel
    PlanCache(device.folder).discard(device.plan("decoder"))
    break_off(model, monkeypatch, error)
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert len(device.built) == 3


def test_nobody_opens_a_plan_that_is_being_compared(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.spoil = wrong_kernel
    real = prepare.run_self_test
    refused = []

    def meanwhile(*arguments: Any) -> object:
        for graph in ("encoder", "decoder"):
            with pytest.raises(PlanError, match="not been compared"):
                prepare.check_plans([model.graph(graph)], None)
            refused.append(graph)
        return real(*arguments)

    monkeypatch.setattr(prepare, "run_self_test", meanwhile)
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert refused == ["encoder", "decoder"]


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--no-repair"]])
def test_what_verify_found_wrong_is_not_used(arguments: list[str], model: Bundle, device: Device) -> None:
    device.spoil = wrong_kernel
    assert main(["verify", str(model.path), "--runtime", "tensorrt", "--limit", "1", *arguments]) == 1
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert len(device.built) == 2


def test_plans_that_passed_stay_when_another_fails(model: Bundle, device: Device) -> None:
    load(model.path, runtime="tensorrt").close()
    damage_plan(device)
    device.spoil = wrong_kernel
    with pytest.raises(FidelityError):
        load(model.path, runtime="tensorrt")
    assert device.names() == [".blob", "encoder"]


def test_what_was_refused_is_built_again_only_by_the_command(
    model: Bundle, device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    device.spoil = wrong_kernel
    assert main(["build", str(model.path)]) == 1
    assert capsys.readouterr().out == ""
    with pytest.raises(FidelityError, match="encoder, decoder") as caught:
        load(model.path, runtime="tensorrt")
    assert len(device.built) == 2
    device.spoil = right_kernel
    assert caught.value.hint is not None
    assert main(["build", *caught.value.hint.partition("sam-edge build ")[2].split(), "--json"]) == 0
    captured = capsys.readouterr()
    assert [plan["built"] for plan in json.loads(captured.out)] == [True, True]
    assert "IoU 1.0000" in captured.err
    load(model.path, runtime="tensorrt").close()
    assert len(device.built) == 4


def test_wrong_plans_that_cannot_be_removed_are_the_error(
    model: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OutputError("cannot write")

    monkeypatch.setattr(PlanCache, "judge", read_only)
    device.spoil = wrong_kernel
    for _ in range(2):
        with pytest.raises(FidelityError):
            load(model.path, runtime="tensorrt")
