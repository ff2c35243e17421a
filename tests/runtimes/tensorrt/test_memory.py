"""Memory and CUDA graphs: never overwritten while somebody holds it, never lost, never more than there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_edge.errors import EngineError
from sam_edge.runtimes.tensorrt.plan import MAX_SHAPES
from sam_edge.runtimes.tensorrt.shape_context import MAX_GRAPHS
from tests.runtimes.tensorrt.graphs import DECODE, ENCODE, image, prompt
from tests.runtimes.tensorrt.simulated_tensorrt import Logger, SimulatedContext, Simulation


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


@pytest.mark.parametrize(
    ("line", "asked"),
    [("CUDA: out of memory", ""), ("OutOfMemory (Requested size was 5242880 bytes.)", "5.0 MiB were asked")],
)
def test_memory_that_tensorrt_lacks_is_counted(
    simulation: Simulation, encoder: Path, monkeypatch: pytest.MonkeyPatch, line: str, asked: str
) -> None:
    def refuse(context: SimulatedContext, stream_handle: int) -> None:
        context.engine.logger.log(Logger.ERROR, line)

    monkeypatch.setattr(SimulatedContext, "execute_async_v3", refuse)
    with pytest.raises(EngineError, match=r"of 1024 MiB are free on Simulated") as caught:
        simulation.open(encoder).run(image())
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


def test_a_shape_is_recorded_once(simulation: Simulation, encoder: Path) -> None:
    engine = simulation.open(encoder, ENCODE)
    for value in range(10):
        np.testing.assert_array_equal(engine.run(image(value))["embedding"], 2 * image(value)["image"])
    assert simulation.cuda.log.count("capture") == 1
    assert simulation.cuda.log.count("graph") == 9
    for value in range(10):
        np.testing.assert_array_equal(engine.run(image(value, 8))["embedding"], 2 * image(value, 8)["image"])
        engine.run(image(value))
    assert simulation.cuda.log.count("capture") == 2
    assert simulation.trt.contexts == 2


def test_each_embedding_in_use_has_a_graph_of_its_own(
    simulation: Simulation, encoder: Path, decoder: Path
) -> None:
    encode, decode = simulation.open(encoder, ENCODE), simulation.open(decoder, DECODE)
    held: list[Any] = []
    for value in range(12):
        # As a stream does: the last embedding is decoded while the next one is made.
        held = [*held[-1:], encode.run(image(value))["embedding"]]
        logits = decode.run(prompt(held[0]))["logits"]
        np.testing.assert_array_equal(logits, 4 * image(max(value - 1, 0))["image"])
    # Three blocks are in use in turns, two held and one in the making.
    assert simulation.cuda.log.count("capture") <= 6


def test_no_more_graphs_are_kept_than_the_limit(simulation: Simulation, encoder: Path) -> None:
    engine = simulation.open(encoder, ENCODE)
    embeddings = [engine.run(image(value))["embedding"] for value in range(MAX_GRAPHS + 9)]
    assert simulation.cuda.graphs == MAX_GRAPHS
    for value, embedding in enumerate(embeddings):
        np.testing.assert_array_equal(embedding, 2 * image(value)["image"])


def test_no_more_shapes_are_kept_than_the_limit(simulation: Simulation, encoder: Path) -> None:
    engine = simulation.open(encoder, ENCODE)
    for _ in range(3):
        for side in range(1, MAX_SHAPES + 4):
            np.testing.assert_array_equal(engine.run(image(7, side))["embedding"], 2 * image(7, side)["image"])
    assert simulation.cuda.graphs <= MAX_SHAPES


def test_an_engine_that_cannot_be_recorded_runs_call_by_call(
    tmp_path: Path, encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = Simulation(tmp_path, capturable=False)
    engine = simulation.open(encoder, ENCODE)
    for value in range(20):
        np.testing.assert_array_equal(engine.run(image(value))["embedding"], 2 * image(value)["image"])
    assert "graph" not in simulation.cuda.log
    assert simulation.cuda.graphs == 0
    (warning,) = caplog.messages
    assert "no CUDA graphs" in warning
