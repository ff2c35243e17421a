"""An engine that is dropped, or fails to open, leaves nothing: no memory, no handle, no object of TensorRT."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import EngineError, InputError, PlanError
from sam_edge.runtimes.cuda.memory import pool_of
from sam_edge.runtimes.cuda.release import give_back_dropped
from sam_edge.runtimes.tensorrt.session import TensorRtSession
from tests.runtimes.tensorrt import simulated_tensorrt
from tests.runtimes.tensorrt.graphs import ENCODE, image
from tests.runtimes.tensorrt.simulated_tensorrt import Simulation

MANIFEST = find_bundle("nano").manifest
FRAME = np.zeros((40, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_session_that_is_dropped_leaves_nothing(simulation: Simulation, encoder: Path) -> None:
    session = simulation.open(encoder, ENCODE)
    for value in range(3):
        embedding = session.run(image(value))["embedding"]
    session.run_frame(FRAME, MANIFEST.input_size.view((64, 40)), MANIFEST.preprocess)
    assert simulation.trt.alive
    del session
    give_back_dropped()
    assert list(simulation.trt.alive) == []
    assert simulation.cuda.handles == 0
    # What somebody holds stays, as long as it is held.
    np.testing.assert_array_equal(embedding, 2 * image(2)["image"])
    del embedding
    pool_of(simulation.cuda).trim()
    assert simulation.cuda.used == 0


@pytest.mark.parametrize("step", ["deserialize", "malloc", "stream", "event", "mode"])
def test_an_engine_that_fails_to_open_leaves_nothing(
    simulation: Simulation, encoder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    plan = simulation.build(encoder)

    def fail(*_: object, **__: object) -> None:
        raise EngineError("it fails")

    if step == "deserialize":
        monkeypatch.setattr(simulated_tensorrt, "MARK", b"strange:")
    elif step == "mode":
        monkeypatch.setattr(simulated_tensorrt.SimulatedEngine, "get_tensor_mode", fail)
    else:
        monkeypatch.setattr(simulation.cuda, step, fail)
    with pytest.raises((EngineError, PlanError)) as caught:
        TensorRtSession(encoder, gpu=simulation.gpu, plan=plan)
    # The error and its frames are still held here.
    assert caught.value.__traceback__ is not None
    assert list(simulation.trt.alive) == []
    assert simulation.cuda.used == simulation.cuda.handles == 0


def test_a_shape_that_is_refused_leaves_no_context(simulation: Simulation, encoder: Path) -> None:
    engine = simulation.open(encoder, ENCODE)
    before = len(simulation.trt.alive)
    with pytest.raises(InputError, match="the plan takes") as caught:
        engine.run({"image": np.zeros((1, 3, 5000, 1), np.float32)})
    assert caught.value.__traceback__ is not None
    assert len(simulation.trt.alive) == before


@pytest.mark.parametrize("recorded", [False, True])
def test_a_session_in_a_cycle_is_not_ended_while_another_is_run_or_recorded(
    simulation: Simulation, encoder: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    session = simulation.open(encoder, ENCODE)
    lost: list[Any] = [simulation.open(encoder, ENCODE)]
    lost[0].run(image())
    lost.append(lost)
    if recorded:
        # The first run goes call by call, the next is recorded.
        session.run(image(1))
    del lost
    execute = simulated_tensorrt.SimulatedContext.execute_async_v3
    before, during = len(simulation.trt.alive), []

    def collecting(context: simulated_tensorrt.SimulatedContext, stream_handle: int) -> bool:
        gc.collect()
        during.append(len(simulation.trt.alive))
        return execute(context, stream_handle)

    monkeypatch.setattr(simulated_tensorrt.SimulatedContext, "execute_async_v3", collecting)
    embedding = session.run(image(2))["embedding"]
    np.testing.assert_array_equal(embedding, 2 * image(2)["image"])
    assert during == [before] if recorded else during[0] >= before
    assert ("graph" in simulation.cuda.log) == recorded
    give_back_dropped()
    # Logger, runtime, engine and context of the other alone.
    assert len(simulation.trt.alive) == 4


def test_an_engine_without_side_streams_gets_none(simulation: Simulation, encoder: Path) -> None:
    simulation.trt.side_streams = 0
    engine = simulation.open(encoder, ENCODE)
    for value in range(2):
        np.testing.assert_array_equal(engine.run(image(value))["embedding"], 2 * image(value)["image"])
    engine.close()
    assert simulation.cuda.handles == 0
