"""Tensors that stay on the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.runtimes.onnxruntime import providers
from sam_edge.runtimes.onnxruntime.binding import DeviceArray
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import image, write_decoder, write_encoder

OPTIONS = SessionOptions(device="cpu", host_outputs=frozenset({"logits", "iou"}))


@pytest.fixture
def encoder(tmp_path: Path) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(write_encoder(tmp_path), OPTIONS, resident=True)


@pytest.fixture
def decoder(tmp_path: Path) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(write_decoder(tmp_path), OPTIONS, resident=True)


def point(value: float = 1) -> np.ndarray:
    return np.array([[value]], np.float32)


def test_the_embedding_stays_and_the_answer_is_numpy(
    encoder: OnnxRuntimeSession, decoder: OnnxRuntimeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = encoder.run(image(2))["embedding"]
    assert isinstance(embedding, DeviceArray)

    def copied(self: DeviceArray, *_: object, **__: object) -> None:
        raise AssertionError("the embedding was copied to the host")

    monkeypatch.setattr(DeviceArray, "__array__", copied)
    answer = decoder.run({"embedding": embedding, "point": point(5)})
    assert type(answer["logits"]) is np.ndarray
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))
    np.testing.assert_array_equal(answer["iou"], np.full((1, 3), -10))


def test_without_a_choice_all_outputs_are_numpy(tmp_path: Path) -> None:
    session = OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="cpu"), resident=True)
    assert type(session.run(image(2))["embedding"]) is np.ndarray


def test_a_plain_session_takes_a_resident_feed_by_copy(encoder: OnnxRuntimeSession, tmp_path: Path) -> None:
    embedding = encoder.run(image(2))["embedding"]
    plain = OnnxRuntimeSession(write_decoder(tmp_path), OPTIONS)
    answer = plain.run({"embedding": embedding, "point": point()})
    np.testing.assert_array_equal(answer["iou"], np.full((1, 3), -2))


def test_device_tensors_speak_numpy_and_dlpack(encoder: OnnxRuntimeSession) -> None:
    embedding: Any = encoder.run(image(2))["embedding"]
    assert (embedding.shape, embedding.dtype) == ((1, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(embedding), np.full((1, 3), -2))
    assert np.asarray(embedding, np.float64).dtype == np.float64
    if hasattr(providers.ort.OrtValue, "__dlpack__"):
        np.testing.assert_array_equal(np.from_dlpack(embedding), np.full((1, 3), -2))
    else:
        with pytest.raises(BufferError, match="numpy"):
            embedding.__dlpack__()
    with pytest.raises(ValueError, match="copy"):
        embedding.__array__(copy=False)


def test_encoder_and_decoder_threads_meet(encoder: OnnxRuntimeSession, decoder: OnnxRuntimeSession) -> None:
    def both(value: int) -> Any:
        embedding = encoder.run(image(value, 1000))["embedding"]
        return decoder.run({"embedding": embedding, "point": point()})["logits"]

    with ThreadPoolExecutor(4) as pool:
        for value, logits in enumerate(pool.map(both, range(200))):
            np.testing.assert_array_equal(logits, np.full((1, 1000), 1 - value))
