"""What has to stand still while onnxruntime records a CUDA graph, and which thread a recording belongs to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Recordings:
    """Any number of calls into CUDA at a time, or one run that is recorded.

    onnxruntime records in CUDA's global mode: an allocation, a copy or a synchronisation of any other thread
    of the process then fails, and the recording with it. So everything in these runtimes that may reach CUDA
    (uploads, runs, reading back, making and closing sessions) is in `running`. Tensors that Python drops go
    back to onnxruntime's arena and reach no CUDA. Neither may be entered from within the other.
    """

    def __init__(self) -> None:
        self._free = threading.Condition(threading.Lock())
        self._running = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._free:
            self._running += 1
        try:
            yield
        finally:
            with self._free:
                self._running -= 1
                self._free.notify_all()

    @contextmanager
    def recording(self) -> Iterator[None]:
        with self._free:
            self._free.wait_for(lambda: not self._running)
            yield


CAPTURE_LOCK = Recordings()
"""Of the process, which is what CUDA counts. Other libraries' use of CUDA it knows nothing of."""


class _Thread:
    """Stands for a thread as long as that one runs; the system's numbers of threads come again."""


_here = threading.local()


def this_thread() -> object:
    """An object that is this thread's alone. onnxruntime keeps recordings by thread and replays no other's."""
    if not hasattr(_here, "thread"):
        _here.thread = _Thread()
    return _here.thread
