"""Tensors that stay on the device, and runs replayed at the same addresses."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.runtimes.onnxruntime import providers
from sam_edge.runtimes.onnxruntime.binding import MAX_SLOTS, DeviceArray
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import image, save, tensor, write_decoder, write_encoder

LENDS = hasattr(providers.ort.OrtValue, "__dlpack__")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path)


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return write_decoder(tmp_path)


def slots(engine: OnnxRuntimeSession) -> int:
    assert engine._bound is not None
    return sum(len(group) for group in engine._bound._slots.values())


@pytest.mark.parametrize("replay", [False, True])
def test_the_embedding_stays_and_the_answer_is_numpy(encoder: Path, decoder: Path, replay: bool) -> None:
    first = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True, replay=replay)
    second = OnnxRuntimeSession(decoder, SessionOptions(device="cpu"), resident=True, replay=replay)
    embedding = first.run(image(2))["embedding"]
    assert isinstance(embedding, DeviceArray)
    address = embedding.value.data_ptr()
    answer = second.run({"embedding": embedding, "point": np.array([[5]], np.float32)})
    assert type(answer["logits"]) is np.ndarray
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))
    np.testing.assert_array_equal(answer["iou"], np.full((1, 3), -10))
    assert embedding.value.data_ptr() == address


def test_a_resident_feed_is_not_copied(encoder: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True).run(image(2))[
        "embedding"
    ]
    second = OnnxRuntimeSession(decoder, SessionOptions(device="cpu"), resident=True)

    def copied(self: DeviceArray, *_: object, **__: object) -> None:
        raise AssertionError("the embedding was copied to the host")

    monkeypatch.setattr(DeviceArray, "__array__", copied)
    answer = second.run({"embedding": embedding, "point": np.array([[5]], np.float32)})
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))


def test_a_plain_engine_takes_a_resident_feed_by_copy(encoder: Path, decoder: Path) -> None:
    embedding = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True).run(image(2))[
        "embedding"
    ]
    answer = OnnxRuntimeSession(decoder, SessionOptions(device="cpu")).run(
        {"embedding": embedding, "point": np.ones((1, 1), np.float32)}
    )
    np.testing.assert_array_equal(answer["iou"], np.full((1, 3), -2))


def test_device_tensors_speak_numpy_and_dlpack(encoder: Path) -> None:
    embedding: Any = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True).run(image(2))[
        "embedding"
    ]
    assert (embedding.shape, embedding.dtype) == ((1, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(embedding), np.full((1, 3), -2))
    assert np.asarray(embedding, np.float64).dtype == np.float64
    if LENDS:
        np.testing.assert_array_equal(np.from_dlpack(embedding), np.full((1, 3), -2))
    else:
        with pytest.raises(BufferError, match="copy with numpy"):
            embedding.__dlpack__()
    with pytest.raises(ValueError, match="copy"):
        embedding.__array__(copy=False)


def test_runs_are_replayed_at_the_same_addresses(encoder: Path, decoder: Path) -> None:
    first = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True, replay=True)
    second = OnnxRuntimeSession(decoder, SessionOptions(device="cpu"), resident=True, replay=True)
    addresses = set()
    for value in range(20):
        embedding: Any = first.run(image(value))["embedding"]
        addresses.add(embedding.value.data_ptr())
        answer = second.run({"embedding": embedding, "point": np.ones((1, 1), np.float32)})
        np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 1 - value))
    # While one embedding is replaced by the next, both are alive.
    assert len(addresses) == slots(first) == slots(second) == 2


def test_what_somebody_holds_is_never_overwritten(encoder: Path) -> None:
    engine = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True, replay=True)
    held = [engine.run(image(value))["embedding"] for value in range(3 * MAX_SLOTS)]
    assert slots(engine) == MAX_SLOTS
    for value, embedding in enumerate(held):
        np.testing.assert_array_equal(embedding, np.full((1, 3), -value))
    del held, embedding
    gc.collect()
    again: Any = engine.run(image(7))["embedding"]
    assert again.fixed


@pytest.mark.skipif(not LENDS, reason="this onnxruntime is older than its DLPack")
def test_memory_lent_by_dlpack_is_never_overwritten(encoder: Path) -> None:
    engine = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True, replay=True)
    seen = [np.from_dlpack(engine.run(image(value))["embedding"]) for value in range(2 * MAX_SLOTS)]
    gc.collect()
    for value, array in enumerate(seen):
        np.testing.assert_array_equal(array, np.full((1, 3), -value))


def test_many_shapes_do_not_pile_up(encoder: Path) -> None:
    engine = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True, replay=True)
    for width in range(1, 5 * MAX_SLOTS):
        np.testing.assert_array_equal(engine.run(image(1, width))["embedding"], np.full((1, width), -1))
    assert slots(engine) == MAX_SLOTS
    assert engine._bound is not None
    assert len(engine._bound._slots) == MAX_SLOTS


def test_encoder_and_decoder_threads_meet_on_replayed_runs(encoder: Path, decoder: Path) -> None:
    first = OnnxRuntimeSession(encoder, SessionOptions(device="cpu"), resident=True, replay=True)
    second = OnnxRuntimeSession(decoder, SessionOptions(device="cpu"), resident=True, replay=True)

    def both(value: int) -> Any:
        embedding = first.run(image(value, 1000))["embedding"]
        return second.run({"embedding": embedding, "point": np.ones((1, 1), np.float32)})["logits"]

    with ThreadPoolExecutor(4) as pool:
        for value, logits in enumerate(pool.map(both, range(200))):
            np.testing.assert_array_equal(logits, np.full((1, 1000), 1 - value))


def test_a_resident_float16_tensor_stays_float16(tmp_path: Path) -> None:
    half = TensorProto.FLOAT16
    node = helper.make_node("Add", ["a", "a"], ["b"])
    path = save(tmp_path, "half", [node], [tensor("a", 2, kind=half)], [tensor("b", 2, kind=half)])
    once = OnnxRuntimeSession(path, SessionOptions(device="cpu"), resident=True).run(
        {"a": np.array([1, 2], np.float32)}
    )["b"]
    assert once.dtype == np.float16
    # A float32 graph takes it all the same.
    node = helper.make_node("Neg", ["b"], ["logits"])
    full = save(tmp_path, "full", [node], [tensor("b", 2)], [tensor("logits", 2)])
    np.testing.assert_array_equal(
        OnnxRuntimeSession(full, SessionOptions(device="cpu"), resident=True).run({"b": once})["logits"],
        [-2, -4],
    )
