"""Plans of graphs that are opened when they are first needed are there as soon as the model is open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sam_edge import Prompt
from sam_edge.fidelity.images import textured_image
from sam_edge.fidelity.result import FidelityResult
from sam_edge.loading import load
from sam_edge.runtimes.tensorrt import prepare as tensorrt_open
from sam_edge.runtimes.tensorrt.plan_cache import discard_plan
from tests.runtimes.tensorrt.simulated_device import Device
from tests.runtimes.tensorrt.simulated_tensorrt import SimulatedRuntime


@pytest.fixture
def nano(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of the model, which nobody needs to compare here."""
    monkeypatch.setattr(tensorrt_open, "run_self_test", lambda *_: FidelityResult(mask_iou_mean=1.0))
    load("nano", runtime="tensorrt").close()
    device.built.clear()


def damage(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes() + b"!")


@pytest.mark.parametrize("happens", [damage, discard_plan])
def test_a_late_plan_that_cannot_be_used_is_built_when_the_model_is_opened(
    happens: Callable[[Path], None], nano: None, device: Device
) -> None:
    happens(next(device.folder.glob("decoder_many-*.plan")))
    with load("nano", runtime="tensorrt") as segmenter:
        assert device.built == ["decoder_many.onnx"]
        points = [(20 + 10 * index, 100) for index in range(segmenter.max_points)]
        segmenter.decode(segmenter.encode(textured_image((320, 240))), Prompt.points(points))


def test_where_all_is_ready_late_plans_are_not_loaded(
    nano: None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    real = SimulatedRuntime.deserialize_cuda_engine

    def count(runtime: SimulatedRuntime, serialized_engine: bytes) -> object:
        loaded.append(len(serialized_engine))
        return real(runtime, serialized_engine)

    monkeypatch.setattr(SimulatedRuntime, "deserialize_cuda_engine", count)
    load("nano", runtime="tensorrt").close()
    assert len(loaded) == 2
    assert not device.built
