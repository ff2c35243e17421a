"""What the TensorRT runtime does on the device, watched on a simulated one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sam_edge import Prompt
from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import EngineError, InputError
from sam_edge.imaging.image import encoder_input
from sam_edge.runtimes.cuda.api import CompilerError
from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.letterbox import Letterbox
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.backends import find_runtime
from tests.runtimes.tensorrt.graphs import image, prompt, write_decoder, write_encoder
from tests.runtimes.tensorrt.simulated_tensorrt import Simulate


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path)


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return write_decoder(tmp_path)


def test_the_embedding_stays_on_the_device(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    embedding = simulation.open(encoder).run(image(3))["embedding"]
    assert isinstance(embedding, DeviceArray)
    assert simulation.cuda.log == ["copy to_device", "encode"]
    simulation.cuda.log.clear()
    logits = simulation.open(decoder).run(prompt(embedding, 5))["logits"]
    # The prompt goes there and the mask comes back; the embedding is where it is needed.
    assert simulation.cuda.log == ["copy to_device", "execute", "copy to_host"]
    assert isinstance(logits, np.ndarray)
    np.testing.assert_array_equal(logits, np.full((1, 3, 4, 4), 30, np.float32))


def test_an_embedding_from_the_host_is_taken_too(simulate: Simulate, decoder: Path) -> None:
    engine = simulate().open(decoder)
    for value in (1, 2, 3):
        logits = engine.run(prompt(np.full((1, 3, 4, 4), value, np.float32)))["logits"]
        np.testing.assert_array_equal(logits, 2 * np.full((1, 3, 4, 4), value, np.float32))


def test_the_decoder_overtakes_the_encoder(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    encode, decode = simulation.open(encoder), simulation.open(decoder)
    embedding = encode.run(image(1))["embedding"]
    decode.run(prompt(embedding))
    ordinary = simulation.cuda.streams(urgent=False)[0]
    simulation.cuda.hold(ordinary)
    simulation.cuda.log.clear()
    with ThreadPoolExecutor(1) as pool:
        frame = pool.submit(encode.run, image(9))
        while "graph" not in simulation.cuda.log:
            assert not frame.done()
        # The encoder is at work in another thread, and the answer comes all the same.
        logits = decode.run(prompt(embedding, 7))["logits"]
        assert not frame.done()
        simulation.cuda.hold(ordinary, held=False)
        np.testing.assert_array_equal(frame.result()["embedding"], 2 * image(9)["image"])
    np.testing.assert_array_equal(logits, 14 * image(1)["image"])
    order = [step for step in simulation.cuda.log if step in {"encode", "execute"}]
    assert order == ["execute", "encode"]


def test_only_what_a_prompt_waits_for_is_urgent(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    encode = simulation.open(encoder)
    assert len(simulation.cuda.streams(urgent=True)) == 0
    decode = simulation.open(decoder)
    assert len(simulation.cuda.streams(urgent=True)) == 2
    # Who waits for a frame leaves the core to others; a prompt's answer is worth a core that spins.
    assert list(simulation.cuda.sleeping.values()) == [True, False]
    encode.close()
    decode.close()


def test_a_image_goes_from_the_letterbox_into_the_encoder(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    manifest = find_bundle("nano").manifest
    view = manifest.input_size.view((64, 40))
    frames = [np.full((40, 64, 3), value, np.uint8) for value in (0, 90, 255)]
    letterbox = Letterbox(engine.cuda, manifest.preprocess, "bgr")
    for frame in frames:
        simulation.cuda.log.clear()
        embedding = engine.run({"image": letterbox(frame, view)})["embedding"]
        assert "encode" in simulation.cuda.log
        # Only the camera's bytes went to the device, before the kernel.
        assert "copy to_device" not in simulation.cuda.log[simulation.cuda.log.index("kernel") :]
        expected = 2 * encoder_input(frame[..., ::-1], view, manifest.preprocess)
        np.testing.assert_allclose(embedding, expected, atol=1e-2)


def test_a_failing_run_is_an_error_and_not_garbage(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    simulation.trt.fails = True
    with pytest.raises(EngineError, match="TensorRT fails to run: not ready"):
        engine.run(image())
    simulation.trt.fails = False
    np.testing.assert_array_equal(engine.run(image(3))["embedding"], 2 * image(3)["image"])


def test_a_size_beyond_the_plan_names_its_limits(simulate: Simulate, encoder: Path) -> None:
    with pytest.raises(InputError, match=r"image has shape .*takes \(1, 3, 1, 1\) to \(1, 3, 4096, 4096\)"):
        simulate().open(encoder).run({"image": np.zeros((1, 3, 5000, 1), np.float32)})


def test_unknown_inputs_are_named(simulate: Simulate, encoder: Path) -> None:
    with pytest.raises(InputError, match="no input extra"):
        simulate().open(encoder).run(image() | {"extra": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    ("compiler", "tolerance"),
    # The kernel's image is within a grey level of the processor's.
    [(True, 5e-2), (False, 1e-4)],
    ids=["prepared by the kernel", "prepared by the processor"],
)
def test_nano_segments_as_on_onnxruntime(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch, compiler: bool, tolerance: float
) -> None:
    simulation = simulate()

    def missing(source: str, function: str) -> int:
        raise CompilerError("it is not installed")

    if not compiler:
        monkeypatch.setattr(simulation.cuda, "compile", missing)
    bundle = find_bundle("nano")
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    prompts = [Prompt.points([(40, 50)]), Prompt.points([(120, 20)])]
    expected = Segmenter(bundle, find_runtime("onnxruntime:cpu"), threads=1)
    masks = [expected.decode(expected.encode(frame), one) for one in prompts]
    with Segmenter(bundle, simulation.open) as segmenter:
        for _ in range(3):
            embedding = segmenter.encode(frame)
            assert all(isinstance(tensor, DeviceArray) for tensor in embedding.tensors.values())
            for one, mask in zip(prompts, masks, strict=True):
                logits = segmenter.decode(embedding, one).logits
                np.testing.assert_allclose(logits, mask.logits, atol=tolerance)
    assert "graph" in simulation.cuda.log
    assert ("kernel" in simulation.cuda.log) == compiler
