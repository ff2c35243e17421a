"""Runs are recorded once for each shape and embedding, and not too many are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_edge.runtimes.tensorrt.plan import MAX_SHAPES
from sam_edge.runtimes.tensorrt.shape_context import MAX_GRAPHS
from tests.runtimes.tensorrt.graphs import DECODE, ENCODE, image, prompt
from tests.runtimes.tensorrt.simulated_tensorrt import Simulation


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
