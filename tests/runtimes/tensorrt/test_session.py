"""Opening and running plans, watched on a simulated device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sam_edge import Prompt
from sam_edge.bundle.folder import find_bundle
from sam_edge.errors import EngineError, InputError, MissingExtraError
from sam_edge.runtimes.cuda import api as cuda_module
from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.errors import check_index
from sam_edge.runtimes.tensorrt import device as device_module
from sam_edge.runtimes.tensorrt.device import device_problems, find_gpu
from sam_edge.runtimes.tensorrt.session import TensorRtSession
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import find_runtime
from tests.runtimes.tensorrt.graphs import DECODE, ENCODE, image, prompt
from tests.runtimes.tensorrt.simulated_tensorrt import Logger, SimulatedRuntime, Simulation


def test_the_embedding_stays_on_the_device(simulation: Simulation, encoder: Path, decoder: Path) -> None:
    embedding = simulation.open(encoder, ENCODE).run(image(3))["embedding"]
    assert isinstance(embedding, DeviceArray)
    assert simulation.cuda.log == ["copy to_device", "encode"]
    simulation.cuda.log.clear()
    logits = simulation.open(decoder, DECODE).run(prompt(embedding, 5))["logits"]
    # The prompt goes there and the mask comes back; the embedding is where it is needed.
    assert simulation.cuda.log == ["copy to_device", "execute", "copy to_host"]
    assert isinstance(logits, np.ndarray)
    np.testing.assert_array_equal(logits, np.full((1, 3, 4, 4), 30, np.float32))


def test_the_decoder_overtakes_the_encoder(simulation: Simulation, encoder: Path, decoder: Path) -> None:
    encode, decode = simulation.open(encoder, ENCODE), simulation.open(decoder, DECODE)
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


def test_only_what_a_prompt_waits_for_is_urgent(simulation: Simulation, encoder: Path, decoder: Path) -> None:
    encode = simulation.open(encoder, ENCODE)
    assert len(simulation.cuda.streams(urgent=True)) == 0
    decode = simulation.open(decoder, DECODE)
    assert len(simulation.cuda.streams(urgent=True)) == 2
    # Who waits for a frame leaves the core to others; a prompt's answer is worth a core that spins.
    assert list(simulation.cuda.sleeping.values()) == [True, False]
    encode.close()
    decode.close()


def test_a_failing_run_is_an_error_and_not_garbage(simulation: Simulation, encoder: Path) -> None:
    engine = simulation.open(encoder, ENCODE)
    simulation.trt.fails = True
    with pytest.raises(EngineError, match="not ready"):
        engine.run(image())
    simulation.trt.fails = False
    np.testing.assert_array_equal(engine.run(image(3))["embedding"], 2 * image(3)["image"])


def test_a_size_beyond_the_plan_names_its_limits(simulation: Simulation, encoder: Path) -> None:
    with pytest.raises(InputError, match=r"\(1, 3, 1, 1\) to \(1, 3, 4096, 4096\)"):
        simulation.open(encoder, ENCODE).run({"image": np.zeros((1, 3, 5000, 1), np.float32)})


def test_nano_segments_as_on_onnxruntime(simulation: Simulation) -> None:
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
                # The kernel's image is within a grey level of the processor's.
                np.testing.assert_allclose(segmenter.decode(embedding, one).logits, mask.logits, atol=5e-2)
    assert {"graph", "kernel"} <= set(simulation.cuda.log)


def test_a_plan_that_has_no_room_is_kept(
    simulation: Simulation, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = simulation.build(encoder)

    def refuse(runtime: SimulatedRuntime, serialized_engine: bytes) -> None:
        runtime.logger.log(
            Logger.ERROR, "Requested amount of GPU memory (9437184 bytes) could not be allocated"
        )

    monkeypatch.setattr(SimulatedRuntime, "deserialize_cuda_engine", refuse)
    with pytest.raises(EngineError, match=r"9\.0 MiB .* 1024 of 1024 MiB"):
        TensorRtSession(encoder, gpu=simulation.gpu, plan=plan)
    assert plan.exists()


def test_without_a_cuda_binding_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "_is_installed", lambda name: False)
    monkeypatch.setattr(cuda_module, "_opened", {})
    monkeypatch.setattr(cuda_module, "probe", lambda: None)
    with pytest.raises(MissingExtraError, match=r"sam-edge\[tensorrt\]"):
        find_gpu()


def test_tensorrt_is_not_touched_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(index: int) -> None:
        check_index(index, 0)

    monkeypatch.setattr(device_module, "find_cuda", no_device)
    monkeypatch.setattr(device_module, "load_tensorrt", lambda: pytest.fail("TensorRT was touched"))
    problem = device_problems()["cuda"]
    assert problem is not None
    assert "nvidia-smi" in problem
