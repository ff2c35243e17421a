"""A frame reaches the encoder by way of the device, or of the processor where CUDA's compiler is missing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import InputError
from sam_edge.imaging.image import Layout, encoder_input, to_rgb
from sam_edge.runtimes.cuda.errors import CompilerError
from sam_edge.runtimes.cuda.letterbox import LAYOUTS, Letterbox
from sam_edge.runtimes.tensorrt.session import TensorRtSession
from tests.imaging.layouts import laid_out
from tests.runtimes.tensorrt.graphs import ENCODE, write_encoder
from tests.runtimes.tensorrt.simulated_tensorrt import Simulation

MANIFEST = find_bundle("nano").manifest


@pytest.fixture
def engine(tmp_path: Path, simulation: Simulation) -> TensorRtSession:
    return simulation.open(write_encoder(tmp_path), ENCODE)


def frame(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 64, 3), dtype=np.uint8)


def test_only_the_cameras_bytes_go_to_the_device(simulation: Simulation, engine: TensorRtSession) -> None:
    view = MANIFEST.input_size.view((64, 40))
    for seed in range(3):
        simulation.cuda.log.clear()
        embedding = engine.run_frame(frame(seed), view, MANIFEST.preprocess)["embedding"]
        log = simulation.cuda.log
        assert "encode" in log
        assert "copy to_device" not in log[log.index("kernel") :]
        expected = 2 * encoder_input(frame(seed), view, MANIFEST.preprocess)
        level = 2 / min(MANIFEST.preprocess.std)
        np.testing.assert_allclose(embedding, expected, atol=1.01 * level)
    assert simulation.cuda.kernels == 1
    del embedding
    engine.close()
    assert simulation.cuda.used == simulation.cuda.handles == 0
    with pytest.raises(InputError, match="closed"):
        engine.run_frame(frame(), view, MANIFEST.preprocess)


def test_without_cudas_compiler_the_processor_prepares_frames(
    simulation: Simulation, engine: TensorRtSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(source: str, function: str) -> int:
        raise CompilerError("it is not installed")

    monkeypatch.setattr(simulation.cuda, "compile", missing)
    view = MANIFEST.input_size.view((64, 40))
    for seed in range(2):
        given, rgb = laid_out(frame(seed), "nv12")
        embedding = engine.run_frame(given, view, MANIFEST.preprocess, "nv12")["embedding"]
        np.testing.assert_array_equal(embedding, 2 * encoder_input(rgb, view, MANIFEST.preprocess))
    assert "kernel" not in simulation.cuda.log


@pytest.mark.parametrize("layout", sorted(set(get_args(Layout)) - set(LAYOUTS)))
def test_layouts_that_the_kernel_does_not_know_are_converted_first(
    simulation: Simulation, engine: TensorRtSession, layout: Layout
) -> None:
    view = MANIFEST.input_size.view((64, 40))
    image, _ = laid_out(frame(0), layout)
    embedding = engine.run_frame(image, view, MANIFEST.preprocess, layout)["embedding"]
    expected = 2 * encoder_input(to_rgb(image, layout), view, MANIFEST.preprocess)
    np.testing.assert_allclose(embedding, expected, atol=1.01 * 2 / min(MANIFEST.preprocess.std))
    assert "kernel" in simulation.cuda.log


def test_each_call_may_come_from_another_thread(simulation: Simulation, engine: TensorRtSession) -> None:
    view = MANIFEST.input_size.view((64, 40))

    def call(work: Callable[..., Any], *arguments: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work, *arguments).result()

    for seed in range(2):
        embedding = call(engine.run_frame, frame(seed), view, MANIFEST.preprocess)["embedding"]
        call(np.asarray, embedding)
    del embedding
    letterbox = Letterbox(simulation.cuda, MANIFEST.preprocess)
    call(letterbox, frame(), view)
    call(letterbox.close)
    call(engine.close)
    assert simulation.cuda.used == simulation.cuda.handles == 0
