"""Where tensors are on a GPU: onnxruntime's processor stands for the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.runtimes.onnxruntime import binding
from sam_edge.runtimes.onnxruntime import session as module
from sam_edge.runtimes.onnxruntime.binding import DeviceArray
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import image, write_decoder, write_encoder

ort = binding.ort
OPTIONS = SessionOptions(device="cuda", host_outputs=frozenset({"logits", "iou"}))


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was asked for in which memory; all of it is given on the processor."""
    asked: list[tuple[str, str]] = []
    real_start, real_bind = module.start, ort.IOBinding.bind_output
    real_upload = ort.OrtValue.ortvalue_from_numpy

    def upload(array: Any, memory: str, number: int) -> Any:
        asked.append(("numpy", memory))
        return real_upload(array, "cpu", number)

    def bind_output(self: Any, name: str, memory: str, number: int) -> None:
        asked.append((name, memory))
        real_bind(self, name, "cpu", number)

    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", staticmethod(upload))
    monkeypatch.setattr(ort.IOBinding, "bind_output", bind_output)
    monkeypatch.setattr(DeviceArray, "on_cpu", False)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    monkeypatch.setattr(module, "start", lambda graph, options, device, kept: real_start(graph, options, "cpu"))
    return asked


def test_on_cuda_an_embedding_stays_unless_it_is_asked_for(
    tmp_path: Path, memories: list[tuple[str, str]]
) -> None:
    embedding: Any = OnnxRuntimeSession(write_encoder(tmp_path), OPTIONS).run(image(2))["embedding"]
    assert isinstance(embedding, DeviceArray)
    assert {memory for _, memory in memories} == {"cuda"}
    memories.clear()
    answer = OnnxRuntimeSession(write_decoder(tmp_path), OPTIONS).run(
        {"embedding": embedding, "point": np.array([[5]], np.float32)}
    )
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))
    # The embedding is where it has to be: only the point went to the device.
    assert memories == [("numpy", "cuda"), ("logits", "cpu"), ("iou", "cpu")]
    asked = OnnxRuntimeSession(tmp_path / "encoder.onnx", SessionOptions(device="cuda"))
    assert type(asked.run(image(2))["embedding"]) is np.ndarray
