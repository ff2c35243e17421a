"""Opening graphs that have no plan yet: it is built, once, and those that were only tried do not stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import BundleError, EngineError
from sam_edge.exporters.engines import measure_engine
from sam_edge.fidelity.gate import ask
from sam_edge.fidelity.images import textured_image
from sam_edge.fidelity.result import LIMITS
from sam_edge.progress import silent
from sam_edge.runtimes import tensorrt
from sam_edge.runtimes.tensorrt.build import BuilderSettings
from sam_edge.runtimes.tensorrt.plans import build_request, plan_requests, timing_key
from sam_edge.runtimes.tensorrt.prepare import PlanLoader
from sam_edge.segmenter import Segmenter
from sam_edge.sessions import loaders
from sam_edge.sessions.choice import Runtime, find_runtime
from sam_edge.sessions.loaders import GraphLoader, find_graph_loader
from sam_edge.sessions.session import SessionLoader
from sam_edge.storage.cache import BlobCache
from tests.runtimes.tensorrt.fake_builder import MEASURED
from tests.runtimes.tensorrt.simulated_device import Device
from tests.toy_model import toy_bundle

SQUARE = {"image": np.ones((1, 3, 512, 512), np.float32)}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device(tmp_path / "cache")
    device.use(monkeypatch)
    return device


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def loader(device: Device, toy: Bundle, said: list[str]) -> GraphLoader:
    def progress(step: str, done: float | None = None) -> None:
        said.append(step)

    return PlanLoader(toy.manifest, None, progress)


def variant(graph: Path, folder: Path, weight: float) -> Path:
    """A graph like this one, with other weights, under a name that a trial gives."""
    model = onnx.load(graph)
    tensor = model.graph.initializer[0]
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(value * np.float32(weight), tensor.name))
    path = folder / f"{graph.stem}.tensorrt.fp16.onnx"
    onnx.save(model, path)
    return path


def answer(loader: SessionLoader, graph: Path) -> float:
    """Mean of what an encoder makes of a white image."""
    engine = loader(graph)
    try:
        return float(np.mean(np.asarray(engine.run(SQUARE)["embedding"])))
    finally:
        engine.close()


def test_a_plan_is_built_once_and_kept(
    loader: GraphLoader, device: Device, toy: Bundle, said: list[str]
) -> None:
    for _ in range(2):
        assert answer(loader, toy.graph("encoder")) == pytest.approx(0.6)
    loader(toy.graph("decoder")).close()
    assert device.built == ["encoder.onnx", "decoder.onnx"]
    assert said[-1] == "building decoder (plan 2 of 2)"
    assert device.names() == [".blob", "decoder", "encoder"]
    # The same that `sam-edge build` would have made.
    for request in plan_requests(toy, EngineSpec("tensorrt"), BuilderSettings()):
        assert not build_request(device.environment(), request, silent).is_new


def test_a_plan_with_other_settings_is_good(loader: GraphLoader, device: Device, toy: Bundle) -> None:
    request = plan_requests(toy, EngineSpec("tensorrt"), BuilderSettings(workspace_mb=64))[0]
    build_request(device.environment(), request, silent)
    answer(loader, toy.graph("encoder"))
    assert len(device.built) == 1


def test_what_is_tried_does_not_stay(
    loader: GraphLoader, device: Device, toy: Bundle, tmp_path: Path, said: list[str]
) -> None:
    """A graph that comes again is not built again."""
    with loader.trial(9) as trial:
        for weight in (2, 3, 2):
            assert answer(trial, variant(toy.graph("encoder"), tmp_path, weight)) == pytest.approx(0.6 * weight)
        assert said[-1] == "building encoder (plan 2 of at most 9)"
    assert len(device.built) == 2
    assert device.names() == [".blob"]
    # What was measured in it makes the next build quick.
    assert BlobCache(device.folder).read(timing_key(device.environment().device)) == MEASURED
    assert device.builder.config.given_timing == MEASURED


def test_what_is_accepted_stays(loader: GraphLoader, device: Device, toy: Bundle, tmp_path: Path) -> None:
    own = toy.graph("decoder")
    loader(own).close()
    with loader.trial() as trial:
        trial(own).close()
        answer(trial, variant(toy.graph("encoder"), tmp_path, 3))
        accepted = variant(toy.graph("encoder"), tmp_path, 2)
        answer(trial, accepted)
        trial.keep([accepted, own])
    assert device.names() == [".blob", "decoder", "encoder.tensorrt.fp16"]
    assert answer(loader, accepted) == pytest.approx(1.2)
    assert len(device.built) == 3


def test_files_of_no_graph_are_refused(loader: GraphLoader, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"graph")
    with pytest.raises(BundleError, match=r"other\.onnx"):
        loader(tmp_path / "other.onnx")


def test_a_builder_that_fails_leaves_nothing(loader: GraphLoader, device: Device, toy: Bundle) -> None:
    device.builder.builds = False
    with pytest.raises(EngineError, match=r"encoder\.onnx"), loader.trial() as trial:
        trial(toy.graph("encoder"))
    with pytest.raises(EngineError, match=r"encoder\.onnx"):
        loader(toy.graph("encoder"))
    assert device.names() == []


def test_engines_are_measured_where_there_was_no_plan(
    device: Device, toy: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders, "find_runtime", lambda name: Runtime(tensorrt.BACKEND, None))
    with Segmenter(toy, find_runtime("onnxruntime:cpu")) as segmenter:
        expected = ask(segmenter, [textured_image((160, 120))])
    assert measure_engine(toy, EngineSpec("tensorrt"), expected).violations(LIMITS["fp32"]) == []
    assert device.names() == [".blob", "decoder", "encoder"]


def test_other_runtimes_open_graphs_as_they_are(toy: Bundle) -> None:
    loader = find_graph_loader("onnxruntime:cpu", toy.manifest)
    with loader.trial(3) as trial:
        assert answer(trial, toy.graph("encoder")) == answer(loader, toy.graph("encoder"))
        trial.keep([toy.graph("encoder")])
