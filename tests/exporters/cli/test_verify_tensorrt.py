"""`sam-edge verify --runtime tensorrt` on a device that has no plan of the model yet: they are built."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from sam_edge import Prompt
from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.cli import main
from sam_edge.exporters import engines, verify
from sam_edge.exporters.engines import Fp16Model, find_halves, with_engine
from sam_edge.fidelity.images import textured_image
from sam_edge.host.machine import read_machine
from sam_edge.imaging.image import write_image
from sam_edge.loading import load
from sam_edge.progress import silent
from sam_edge.runtimes.tensorrt import prepare
from sam_edge.runtimes.tensorrt.build import BuilderSettings
from sam_edge.runtimes.tensorrt.plans import build_request, plan_requests
from tests.fixtures.commands import Answer
from tests.runtimes.tensorrt.simulated_device import Device
from tests.toy_model import toy_bundle

HALF = EngineSpec("tensorrt:cuda", "fp16")
Verify = Callable[..., Answer]


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path)


@pytest.fixture
def broken(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The model with fp16 graphs that overflow, which nobody but the gate finds out."""
    naive = Fp16Model(
        find_halves(toy, [textured_image((160, 120))]).sources,
        {name: frozenset() for name in toy.manifest.graphs},
    )
    monkeypatch.setattr(engines, "find_halves", lambda bundle, images: naive)
    made: Bundle = with_engine(toy, HALF, naive.write(HALF, toy.path))
    verify.store(made)
    return made


@pytest.fixture
def call(toy: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Run the command on the model and an image."""
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured_image((160, 120)))

    def call(*arguments: str) -> Answer:
        photos = str(tmp_path / "photos")
        code = main(["verify", str(toy.path), "--runtime", "tensorrt", "--images", photos, *arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_missing_plans_are_built_and_stay(call: Verify, device: Device, tmp_path: Path, toy: Bundle) -> None:
    answer = call()
    assert answer.code == 0, answer
    assert "tensorrt:cuda fp32" in answer.out
    steps = answer.err.splitlines()
    assert {"building encoder (plan 1 of 2)", "building decoder (plan 2 of 2)"} <= set(steps)
    assert device.names() == [".blob", "decoder", "encoder"]
    assert find_bundle(toy.path).manifest.fidelity["tensorrt:cuda-fp32"]["passed"] == 1
    assert call().code == 0
    assert len(device.built) == 2
    assert not any((tmp_path / "temporary").iterdir())


def test_a_broken_half_is_refused_repaired_and_its_plan_is_ready(
    call: Verify, device: Device, broken: Bundle, tmp_path: Path
) -> None:
    refused = call("--precision", "fp16", "--no-repair")
    assert refused.code == 1, refused
    assert "FAIL" in refused.out
    assert device.built == ["encoder.tensorrt.fp16.onnx", "decoder.tensorrt.fp16.onnx"]
    answer = call("--precision", "fp16", "--json")
    assert answer.code == 0, answer
    (found,) = json.loads(answer.out)["engines"]
    assert found["repaired"]
    assert {"decoder/toy_dx2", "decoder/toy_dy2"} <= set(found["raised"])
    steps = [line for line in answer.err.splitlines() if line.startswith("building")]
    assert steps[0].startswith("building encoder (plan 1 of at most ")
    assert len(steps) == len(device.built) - 2
    assert len(steps) <= int(steps[0].rpartition(" ")[2].rstrip(")"))
    # The plans of what was tried are gone; those of the old decoder and of the new one are there.
    assert device.names() == [".blob", *["decoder.tensorrt.fp16"] * 2, "encoder.tensorrt.fp16"]
    assert not any((tmp_path / "temporary").iterdir())
    for request in plan_requests(find_bundle(broken.path), HALF, BuilderSettings()):
        assert not build_request(device.environment(), request, silent).is_new
    prompt = Prompt.points([(80, 60)])
    masks = []
    for name in ("tensorrt", "onnxruntime:cpu"):
        with load(broken.path, runtime=name) as segmenter:
            assert segmenter.engine == (HALF if name == "tensorrt" else EngineSpec(name))
            masks.append(segmenter.decode(segmenter.encode(textured_image((160, 120))), prompt).logits > 0)
    assert np.mean(masks[0] == masks[1]) > 0.99


def test_a_builder_that_fails_while_repairing_changes_nothing(
    call: Verify, device: Device, broken: Bundle, tmp_path: Path
) -> None:
    before = contents(broken.path)
    device.builds_at_most = 5
    answer = call("--precision", "fp16")
    assert answer.code == 2, answer
    assert answer.out == ""
    error = answer.err.splitlines()[-1]
    assert error.startswith(
        "error: tensorrt:cuda fp16 fails, and it cannot be mended here: TensorRT 10.3.0 can"
    )
    assert error.endswith("--no-repair measures it and no more")
    assert answer.err.count("error") == 1
    assert contents(broken.path) == before
    assert device.names() == [".blob", "decoder.tensorrt.fp16", "encoder.tensorrt.fp16"]
    assert not any((tmp_path / "temporary").iterdir())


def test_a_wrong_kernel_is_named(call: Verify, device: Device, tmp_path: Path) -> None:
    def spoil(model: ModelProto) -> None:
        for node in model.graph.node:
            node.op_type = {"Sqrt": "Neg"}.get(node.op_type, node.op_type)

    device.spoil = spoil
    answer = call()
    assert answer.code == 1, answer
    assert "departs at decoder/toy_distance (Sqrt)" in answer.out
    assert device.names() == [".blob", "decoder", "encoder"]
    assert not any((tmp_path / "temporary").iterdir())


def test_without_a_device_nothing_begins(
    call: Verify, installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = read_machine(tmp_path, architecture="x86_64")
    monkeypatch.setattr(prepare, "this_machine", lambda: machine)
    answer = call()
    assert answer.code == 2
    assert answer.err.startswith("error: no NVIDIA GPU with its driver is here")
    assert answer.err.count("\n") == 1
