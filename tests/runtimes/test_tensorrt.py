"""What the TensorRT runtime does on the device, watched on a simulated one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sam_edge import Prompt
from sam_edge.bundle import find_bundle
from sam_edge.errors import BundleError, EngineError, InputError, MissingExtraError
from sam_edge.image import encoder_input
from sam_edge.plans import find_plan
from sam_edge.runtime import find_runtime
from sam_edge.runtimes import cuda as cuda_module
from sam_edge.runtimes import tensorrt as tensorrt_module
from sam_edge.runtimes.device_array import DeviceArray
from sam_edge.runtimes.letterbox import Letterbox
from sam_edge.runtimes.tensorrt import MAX_SHAPES, TensorRtRuntime, describe, plan_device, usable_devices
from sam_edge.runtimes.tensorrt_shape import MAX_GRAPHS
from sam_edge.segmenter import Segmenter
from tests.runtimes.simulated_tensorrt import Simulation

Simulate = Callable[..., Simulation]


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    return partial(Simulation, tmp_path / "cache")


def write_graph(path: Path, operation: str, inputs: list[str], output: str, shape: list[int | str]) -> Path:
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (*inputs, output)
    }
    nodes = [helper.make_node(operation, inputs, [output])]
    *given, answer = tensors.values()
    graph = helper.make_graph(nodes, "small", given, [answer])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """embedding = image + image"""
    return write_graph(tmp_path / "encoder.onnx", "Add", ["image", "image"], "embedding", [1, 3, "h", "w"])


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """logits = embedding * prompt"""
    return write_graph(tmp_path / "decoder.onnx", "Mul", ["embedding", "prompt"], "logits", [1, 3, "h", "w"])


def picture(value: float = 1.0, side: int = 4) -> dict[str, NDArray[np.float32]]:
    return {"image": np.full((1, 3, side, side), value, np.float32)}


def prompt(embedding: Any, value: float = 2.0) -> dict[str, Any]:
    return {"embedding": embedding, "prompt": np.full(embedding.shape, value, np.float32)}


def test_the_embedding_stays_on_the_device(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    embedding = simulation.open(encoder).run(picture(3))["embedding"]
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


def test_masks_outlive_the_next_prompt(simulate: Simulate, decoder: Path) -> None:
    engine = simulate().open(decoder)
    given = np.ones((1, 3, 4, 4), np.float32)
    masks = [engine.run(prompt(given, value))["logits"] for value in range(4)]
    engine.close()
    for value, logits in enumerate(masks):
        np.testing.assert_array_equal(logits, value * given)


def test_a_shape_is_recorded_once(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    for value in range(10):
        np.testing.assert_array_equal(engine.run(picture(value))["embedding"], 2 * picture(value)["image"])
    assert simulation.cuda.log.count("capture") == 1
    assert simulation.cuda.log.count("graph") == 9
    for value in range(10):
        np.testing.assert_array_equal(
            engine.run(picture(value, 8))["embedding"], 2 * picture(value, 8)["image"]
        )
        engine.run(picture(value))
    assert simulation.cuda.log.count("capture") == 2
    assert simulation.trt.contexts == 2


def test_each_embedding_in_use_has_a_graph_of_its_own(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    encode, decode = simulation.open(encoder), simulation.open(decoder)
    held: list[Any] = []
    for value in range(12):
        # As a stream does: the last embedding is decoded while the next one is made.
        held = [*held[-1:], encode.run(picture(value))["embedding"]]
        logits = decode.run(prompt(held[0]))["logits"]
        np.testing.assert_array_equal(logits, 4 * picture(max(value - 1, 0))["image"])
    # Three blocks are in use in turns, two held and one in the making.
    assert simulation.cuda.log.count("capture") <= 6


def test_no_more_graphs_are_kept_than_the_limit(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    embeddings = [engine.run(picture(value))["embedding"] for value in range(MAX_GRAPHS + 9)]
    assert len(simulation.cuda._graphs) == MAX_GRAPHS
    for value, embedding in enumerate(embeddings):
        np.testing.assert_array_equal(embedding, 2 * picture(value)["image"])


def test_no_more_shapes_are_kept_than_the_limit(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    for _ in range(3):
        for side in range(1, MAX_SHAPES + 4):
            np.testing.assert_array_equal(
                engine.run(picture(7, side))["embedding"], 2 * picture(7, side)["image"]
            )
    assert len(simulation.cuda._graphs) <= MAX_SHAPES
    assert len(simulation.cuda._host) <= MAX_SHAPES


def test_an_engine_that_cannot_be_recorded_runs_call_by_call(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate(capturable=False)
    engine = simulation.open(encoder)
    for value in range(4):
        np.testing.assert_array_equal(engine.run(picture(value))["embedding"], 2 * picture(value)["image"])
    # Tried once, and never again.
    assert simulation.cuda.log.count("capture") == 1
    assert "graph" not in simulation.cuda.log


def test_an_embedding_is_not_overwritten_while_it_lives(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    embeddings = [engine.run(picture(value))["embedding"] for value in range(20)]
    assert len({embedding.address for embedding in embeddings}) == 20
    for value, embedding in enumerate(embeddings):
        np.testing.assert_array_equal(embedding, 2 * picture(value)["image"])


def test_steady_work_allocates_nothing(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    encode, decode = simulation.open(encoder), simulation.open(decoder)

    def frame(value: float) -> int:
        decode.run(prompt(encode.run(picture(value))["embedding"]))
        return simulation.cuda.used

    frame(0)
    used = frame(1)
    assert {frame(value) for value in range(30)} == {used}


def test_all_is_given_back(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    encode, decode = simulation.open(encoder), simulation.open(decoder)
    for _ in range(3):
        embedding = encode.run(picture(2))["embedding"]
        decode.run(prompt(embedding))
    encode.close()
    decode.close()
    encode.close()
    assert simulation.cuda.handles == 0
    # What somebody holds stays, as long as it is held.
    np.testing.assert_array_equal(embedding, 2 * picture(2)["image"])
    assert simulation.cuda.used > 0
    del embedding
    gc.collect()
    assert simulation.cuda.used == 0


def test_the_decoder_overtakes_the_encoder(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    encode, decode = simulation.open(encoder), simulation.open(decoder)
    embedding = encode.run(picture(1))["embedding"]
    decode.run(prompt(embedding))
    ordinary = simulation.cuda.streams(urgent=False)[0]
    simulation.cuda.hold(ordinary)
    simulation.cuda.log.clear()
    with ThreadPoolExecutor(1) as pool:
        frame = pool.submit(encode.run, picture(9))
        while "graph" not in simulation.cuda.log:
            assert not frame.done()
        # The encoder is at work in another thread, and the answer comes all the same.
        logits = decode.run(prompt(embedding, 7))["logits"]
        assert not frame.done()
        simulation.cuda.hold(ordinary, held=False)
        np.testing.assert_array_equal(frame.result()["embedding"], 2 * picture(9)["image"])
    np.testing.assert_array_equal(logits, 14 * picture(1)["image"])
    order = [step for step in simulation.cuda.log if step in {"encode", "execute"}]
    assert order == ["execute", "encode"]


def test_only_what_a_prompt_waits_for_is_urgent(simulate: Simulate, encoder: Path, decoder: Path) -> None:
    simulation = simulate()
    simulation.open(encoder)
    assert len(simulation.cuda.streams(urgent=True)) == 0
    simulation.open(decoder)
    assert len(simulation.cuda.streams(urgent=True)) == 2


def test_shared_memory_is_not_copied(simulate: Simulate, decoder: Path) -> None:
    simulation = simulate(integrated=True)
    engine = simulation.open(decoder)
    for value in range(4):
        given = prompt(np.full((1, 3, 4, 4), value, np.float32))
        np.testing.assert_array_equal(engine.run(given)["logits"], 2 * given["embedding"])
    assert not any("copy" in step for step in simulation.cuda.log)


def test_large_inputs_are_copied_even_from_shared_memory(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate(integrated=True)
    engine = simulation.open(encoder)
    engine.run(picture(1, side=8))
    assert simulation.cuda.log == ["encode"]
    given = picture(1, side=512)
    embedding = engine.run(given)["embedding"]
    assert simulation.cuda.log == ["encode", "copy to_device", "encode"]
    np.testing.assert_array_equal(embedding, 2 * given["image"])


def test_a_picture_goes_from_the_letterbox_into_the_encoder(simulate: Simulate, encoder: Path) -> None:
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


def test_out_of_memory_says_how_much_was_asked_and_had(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate(total=3 << 20)
    engine = simulation.open(encoder)
    with pytest.raises(EngineError, match=r"3\.0 MiB were asked, [0-3] of 3 MiB are free on Simulated; close"):
        engine.run(picture(1, side=512))
    # A smaller picture still goes.
    np.testing.assert_array_equal(engine.run(picture(2))["embedding"], 2 * picture(2)["image"])


def test_memory_that_lies_idle_is_given_up_before_giving_up(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate(total=4 << 20)
    engine = simulation.open(encoder)
    engine.run(picture(1, side=256))
    used = simulation.cuda.used
    assert used > 1 << 20
    # Four frames of this size have room only where the blocks of the larger size were.
    embeddings = [engine.run(picture(value, side=250))["embedding"] for value in range(3)]
    for value, embedding in enumerate(embeddings):
        np.testing.assert_array_equal(embedding, 2 * picture(value, side=250)["image"])


def test_a_failing_run_is_an_error_and_not_garbage(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    engine = simulation.open(encoder)
    simulation.trt.fails = True
    with pytest.raises(EngineError, match="TensorRT fails to run: not ready"):
        engine.run(picture())
    simulation.trt.fails = False
    np.testing.assert_array_equal(engine.run(picture(3))["embedding"], 2 * picture(3)["image"])


def test_a_size_beyond_the_plan_names_its_limits(simulate: Simulate, encoder: Path) -> None:
    with pytest.raises(InputError, match=r"image has shape .*takes \(1, 3, 1, 1\) to \(1, 3, 4096, 4096\)"):
        simulate().open(encoder).run({"image": np.zeros((1, 3, 5000, 1), np.float32)})


def test_unknown_inputs_are_named(simulate: Simulate, encoder: Path) -> None:
    with pytest.raises(InputError, match="no input extra"):
        simulate().open(encoder).run(picture() | {"extra": np.zeros(1, np.float32)})


def test_a_plan_of_another_device_is_not_loaded(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    simulation.build(encoder)
    simulation.cuda.device = replace(simulation.cuda.device, name="Other", sm_count=16)
    with pytest.raises(BundleError, match="device name Simulated, here is Other; run sam-edge build"):
        TensorRtRuntime(encoder, gpu=simulation.gpu, folder=simulation.folder)


def test_a_plan_that_tensorrt_refuses_is_an_error_with_its_reason(
    simulate: Simulate, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = simulate()
    monkeypatch.setattr("tests.runtimes.simulated_tensorrt.MARK", b"strange:")
    simulation.build(encoder)
    monkeypatch.undo()
    with pytest.raises(EngineError, match=r"encoder\.onnx: Magic tag does not match; run sam-edge build"):
        TensorRtRuntime(encoder, gpu=simulation.gpu, folder=simulation.folder)


def test_a_damaged_plan_is_removed_and_never_loaded(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    simulation.build(encoder)
    plan = find_plan(encoder, describe(simulation.gpu), None, simulation.folder)
    plan.write_bytes(plan.read_bytes() + b"!")
    with pytest.raises(BundleError, match="damaged and has been removed"):
        TensorRtRuntime(encoder, gpu=simulation.gpu, folder=simulation.folder)
    assert not plan.exists()


def test_without_a_cuda_binding_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "_is_installed", lambda name: False)
    monkeypatch.setattr(cuda_module, "_opened", {})
    with pytest.raises(MissingExtraError, match=r"cuda-python is not installed: .*sam-edge\[tensorrt\]"):
        plan_device()


def test_tensorrt_is_not_touched_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(index: int = 0) -> None:
        cuda_module.check_index(index, 0)

    monkeypatch.setattr(tensorrt_module, "find_cuda", no_device)
    monkeypatch.setattr(tensorrt_module, "load_tensorrt", lambda: pytest.fail("TensorRT was touched"))
    with pytest.raises(EngineError, match="sees no CUDA device"):
        plan_device()
    problem = usable_devices()["cuda"]
    assert problem is not None
    assert "nvidia-smi" in problem


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="no CUDA device 3: choose one of 0 to 1"):
        cuda_module.check_index(3, 2)


def test_nano_segments_as_on_onnxruntime(simulate: Simulate) -> None:
    simulation = simulate()
    bundle = find_bundle("nano")
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    prompts = [Prompt.points([(40, 50)]), Prompt.points([(120, 20)])]
    expected = Segmenter(bundle, find_runtime("onnxruntime:cpu")[1], threads=1)
    masks = [expected.decode(expected.encode(frame), one) for one in prompts]
    with Segmenter(bundle, simulation.open) as segmenter:
        for _ in range(3):
            embedding = segmenter.encode(frame)
            assert all(isinstance(tensor, DeviceArray) for tensor in embedding.tensors.values())
            for one, mask in zip(prompts, masks, strict=True):
                np.testing.assert_allclose(segmenter.decode(embedding, one).logits, mask.logits, atol=1e-4)
    assert "graph" in simulation.cuda.log
