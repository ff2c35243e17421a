"""Where tensors are on a GPU, and which recording is whose: onnxruntime's processor stands for the GPU."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.runtimes.onnxruntime import binding
from sam_edge.runtimes.onnxruntime import session as module
from sam_edge.runtimes.onnxruntime.binding import DeviceArray
from sam_edge.runtimes.onnxruntime.recordings import CAPTURE_LOCK
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import image, write_decoder, write_encoder

ort = binding.ort


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was asked for in which memory; all of it is given on the processor."""
    asked: list[tuple[str, str]] = []
    real_open, real_bind = module._open, ort.IOBinding.bind_output

    def on_processor(name: str) -> Any:
        real = getattr(ort.OrtValue, name)

        def make(*arguments: Any) -> Any:
            *what, memory, number = arguments
            asked.append((name.removeprefix("ortvalue_from_"), memory))
            return real(*what, "cpu", number)

        return staticmethod(make)

    def bind_output(self: Any, name: str, memory: str, number: int) -> None:
        asked.append((name, memory))
        real_bind(self, name, "cpu", number)

    for name in ("ortvalue_from_numpy", "ortvalue_from_shape_and_type"):
        monkeypatch.setattr(ort.OrtValue, name, on_processor(name))
    monkeypatch.setattr(ort.IOBinding, "bind_output", bind_output)
    monkeypatch.setattr(DeviceArray, "on_cpu", False)
    monkeypatch.setattr(module, "check_device", lambda device: None)
    monkeypatch.setattr(
        module, "_open", lambda graph, threads, device, **more: real_open(graph, threads, "cpu", **more)
    )
    return asked


@pytest.mark.parametrize("replay", [False, True])
def test_on_cuda_an_embedding_stays_unless_it_is_asked_for(
    tmp_path: Path, memories: list[tuple[str, str]], replay: bool
) -> None:
    first = OnnxRuntimeSession(write_encoder(tmp_path), SessionOptions(device="cuda"), replay=replay)
    embedding: Any = first.run(image(2))["embedding"]
    assert isinstance(embedding, DeviceArray)
    assert {memory for _, memory in memories} == {"cuda"}
    second = OnnxRuntimeSession(write_decoder(tmp_path), SessionOptions(device="cuda"), replay=replay)
    memories.clear()
    answer = second.run({"embedding": embedding, "point": np.array([[5]], np.float32)})
    assert [type(value) for value in answer.values()] == [np.ndarray, np.ndarray]
    np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 3))
    if not replay:
        # The embedding is where it has to be: only the point went to the device.
        assert memories == [("numpy", "cuda"), ("logits", "cpu"), ("iou", "cpu")]
    asked = OnnxRuntimeSession(
        tmp_path / "encoder.onnx", SessionOptions(device="cuda"), resident=False, replay=replay
    )
    assert type(asked.run(image(2))["embedding"]) is np.ndarray


def test_every_recording_has_a_number_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime would replay the recording of another embedding's addresses."""
    runs: list[tuple[str, object]] = []
    real = ort.InferenceSession.run_with_iobinding

    def run(self: Any, bound: Any, options: Any) -> None:
        runs.append((options.get_run_config_entry("gpu_graph_id"), bound))
        real(self, bound, options)

    monkeypatch.setattr(ort.InferenceSession, "run_with_iobinding", run)
    engine = OnnxRuntimeSession(
        write_encoder(tmp_path), SessionOptions(device="cpu"), resident=True, replay=True
    )
    held = [engine.run(image(value))["embedding"] for value in range(6)]
    recorded = {(number, id(bound)) for number, bound in runs if number != "-1"}
    assert len(recorded) == len({number for number, _ in recorded}) == binding.MAX_SLOTS
    # What finds out sizes, and what gets no slot, is not recorded.
    assert len([number for number, _ in runs if number == "-1"]) == binding.MAX_SLOTS + 2
    del held


@pytest.mark.parametrize("replay", [False, True])
def test_a_session_is_given_back_while_nothing_is_recorded(tmp_path: Path, replay: bool) -> None:
    engine = OnnxRuntimeSession(
        write_encoder(tmp_path), SessionOptions(device="cpu"), resident=True, replay=replay
    )
    engine.run(image(1))
    running: list[int] = []
    assert engine._session is not None
    weakref.finalize(engine._session, lambda: running.append(CAPTURE_LOCK._running))
    engine.close()
    assert running == [1]
