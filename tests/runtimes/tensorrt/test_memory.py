"""Memory of the device: never overwritten while somebody holds it, never lost, never more than there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_edge.errors import EngineError
from tests.runtimes.tensorrt.graphs import DECODE, ENCODE, image, prompt
from tests.runtimes.tensorrt.simulated_tensorrt import Logger, SimulatedContext, SimulatedEngine, Simulation


def test_an_embedding_is_not_overwritten_while_it_lives(simulation: Simulation, encoder: Path) -> None:
    engine = simulation.open(encoder, ENCODE)
    embeddings: list[Any] = [engine.run(image(value))["embedding"] for value in range(20)]
    assert len({embedding.address for embedding in embeddings}) == 20
    for value, embedding in enumerate(embeddings):
        np.testing.assert_array_equal(embedding, 2 * image(value)["image"])


def test_steady_work_allocates_nothing(simulation: Simulation, encoder: Path, decoder: Path) -> None:
    encode, decode = simulation.open(encoder, ENCODE), simulation.open(decoder, DECODE)

    def frame(value: float) -> int:
        decode.run(prompt(encode.run(image(value))["embedding"]))
        return simulation.cuda.used

    frame(0)
    used = frame(1)
    assert {frame(value) for value in range(30)} == {used}


def test_out_of_memory_says_how_much_was_asked_and_had(tmp_path: Path, encoder: Path) -> None:
    simulation = Simulation(tmp_path, total=3 << 20)
    engine = simulation.open(encoder, ENCODE)
    with pytest.raises(EngineError, match=r"3\.0 MiB .* of 3 MiB"):
        engine.run(image(1, side=512))
    # A smaller image still goes.
    np.testing.assert_array_equal(engine.run(image(2))["embedding"], 2 * image(2)["image"])


def test_memory_that_lies_idle_in_another_engine_is_given_up_too(
    tmp_path: Path, encoder: Path, decoder: Path
) -> None:
    simulation = Simulation(tmp_path, total=4 << 20)
    encode, decode = simulation.open(encoder, ENCODE), simulation.open(decoder, DECODE)
    # Two embeddings of 768 KiB, used once, and the image.
    embeddings = [encode.run(image(value, side=256))["embedding"] for value in range(2)]
    del embeddings
    assert simulation.cuda.used > 2 << 20
    held = np.ones((1, 3, 256, 256), np.float32)
    np.testing.assert_array_equal(decode.run(prompt(held))["logits"], 2 * held)
    np.testing.assert_array_equal(encode.run(image(3))["embedding"], 2 * image(3)["image"])


@pytest.mark.parametrize("step", ["context", "run"])
@pytest.mark.parametrize(
    ("line", "asked"),
    [("CUDA: out of memory", ""), ("OutOfMemory (Requested size was 5242880 bytes.)", "5.0 MiB were asked")],
)
def test_memory_that_tensorrt_lacks_is_counted(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, step: str, line: str, asked: str
) -> None:
    simulation = Simulation(tmp_path, total=64 << 20)
    engine = simulation.open(encoder)

    def refuse(thing: SimulatedEngine | SimulatedContext, *_: Any, **__: Any) -> None:
        logger = thing.logger if isinstance(thing, SimulatedEngine) else thing.engine.logger
        logger.log(Logger.ERROR, line)

    kind, method = {
        "context": (SimulatedEngine, "create_execution_context"),
        "run": (SimulatedContext, "execute_async_v3"),
    }[step]
    monkeypatch.setattr(kind, method, refuse)
    with pytest.raises(EngineError, match=r"6\d of 64 MiB are free on Simulated") as caught:
        engine.run(image())
    assert line in str(caught.value)
    assert asked in str(caught.value)


def test_an_older_error_is_not_about_this_run(tmp_path: Path, encoder: Path) -> None:
    simulation = Simulation(tmp_path, capturable=False)
    engine = simulation.open(encoder)
    engine.run(image())
    (logger,) = (thing for thing in simulation.trt.alive if hasattr(thing, "log"))
    logger.log(Logger.ERROR, "out of memory")
    simulation.trt.fails = True
    with pytest.raises(EngineError) as caught:
        engine.run(image(1))
    assert "memory" not in str(caught.value)
