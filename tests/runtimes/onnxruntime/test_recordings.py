"""Nothing reaches CUDA while a run is recorded, and no thread runs what another one recorded."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.runtimes.onnxruntime import binding, providers
from sam_edge.runtimes.onnxruntime.binding import MAX_SLOTS
from sam_edge.runtimes.onnxruntime.recordings import CAPTURE_LOCK, Recordings, this_thread
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import image, write_decoder, write_encoder


def in_thread(work: Callable[[], Any]) -> Any:
    """What `work` gives in a thread of its own, which has ended."""
    answers: list[Any] = []
    thread = Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return answers[0]


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that reach CUDA on a GPU, each of them seen inside `running` or `recording`."""
    seen: list[str] = []

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        @wraps(real)
        def watched(*args: Any, **kwargs: Any) -> Any:
            recording = CAPTURE_LOCK._free._lock.locked()
            assert CAPTURE_LOCK._running or recording, f"{name} may meet a recording"
            seen.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    ort = providers.ort
    for name in ("ortvalue_from_numpy", "ortvalue_from_shape_and_type", "update_inplace", "numpy"):
        watch(ort.OrtValue, name)
    watch(ort.InferenceSession, "__init__")
    watch(ort.InferenceSession, "run_with_iobinding")
    return seen


@pytest.mark.parametrize("replay", [False, True])
def test_all_that_reaches_cuda_keeps_out_of_recordings(
    tmp_path: Path, guarded: list[str], replay: bool
) -> None:
    first = OnnxRuntimeSession(
        write_encoder(tmp_path), SessionOptions(device="cpu"), resident=True, replay=replay
    )
    second = OnnxRuntimeSession(
        write_decoder(tmp_path), SessionOptions(device="cpu"), resident=True, replay=replay
    )
    for value in range(3):
        embedding: Any = first.run(image(value))["embedding"]
        np.testing.assert_array_equal(embedding, np.full((1, 3), -value))
        answer = second.run({"embedding": embedding, "point": np.ones((1, 1), np.float32)})
        np.testing.assert_array_equal(answer["logits"], np.full((1, 3), 1 - value))
    first.close()
    second.close()
    assert {"__init__", "run_with_iobinding", "numpy"} < set(guarded)
    assert ("update_inplace" if replay else "ortvalue_from_numpy") in guarded


def test_every_thread_records_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real_init, real_run = binding._Slot.__init__, binding._Slot.run

    def init(self: Any, *args: Any) -> None:
        self.maker = this_thread()
        made.append(self)
        real_init(self, *args)

    def run(self: Any, feeds: Any) -> Any:
        assert self.maker is this_thread()
        return real_run(self, feeds)

    monkeypatch.setattr(binding._Slot, "__init__", init)
    monkeypatch.setattr(binding._Slot, "run", run)
    engine = OnnxRuntimeSession(
        write_encoder(tmp_path), SessionOptions(device="cpu"), resident=True, replay=True
    )
    for value in (1, 2):
        for _ in range(2):
            np.testing.assert_array_equal(engine.run(image(value))["embedding"], np.full((1, 3), -value))
        in_thread(partial(engine.run, image(value)))
    assert len(made) == 3


def test_slots_of_threads_that_ended_are_given_up(tmp_path: Path) -> None:
    engine = OnnxRuntimeSession(
        write_encoder(tmp_path), SessionOptions(device="cpu"), resident=True, replay=True
    )
    for value in range(3 * MAX_SLOTS):
        kept = in_thread(partial(engine.run, image(value)))["embedding"]
        assert kept.fixed
        # What an ended thread gave stays as it was.
        engine.run(image(99))
        np.testing.assert_array_equal(kept, np.full((1, 3), -value))
    del kept
    gc.collect()
    engine.run(image(1))
    assert engine._bound is not None
    assert len(engine._bound._slots) == 1


def test_a_thread_is_no_other() -> None:
    assert this_thread() is this_thread()
    assert in_thread(this_thread) is not this_thread()


def test_a_recording_waits_for_runs_to_end() -> None:
    recordings = Recordings()

    def record() -> None:
        with recordings.recording():
            pass

    thread = Thread(target=record)
    with recordings.running(), recordings.running():
        thread.start()
        thread.join(timeout=0.05)
        assert thread.is_alive()
    thread.join()


def test_runs_wait_for_a_recording_to_end() -> None:
    recordings = Recordings()
    entered = threading.Event()

    def run() -> None:
        with recordings.running():
            entered.set()

    thread = Thread(target=run)
    with recordings.recording():
        thread.start()
        assert not entered.wait(timeout=0.05)
    thread.join()
    assert entered.is_set()
