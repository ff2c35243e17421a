"""Giving back what an owner held on the device when it is dropped without `close`.

The garbage collector drops things in any thread and in the middle of anything. Two things must not be disturbed
in the thread that does them: the recording of a CUDA graph, which freeing memory would break, and a call of
TensorRT, which tells our logger things while it holds a lock that the end of its objects also takes. What falls
due meanwhile is done when they are over.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sam_edge.errors import EngineError

from .api import CudaApi


class _Thread(threading.local):
    """What this thread is doing."""

    def __init__(self) -> None:
        self.sections = 0
        self.due: list[Callable[[], None]] = []


_thread = _Thread()
# No finalizer asks for it.
_recording = threading.Lock()


def on_finalize(owner: object, give_back: Callable[[], None]) -> weakref.finalize[..., Any]:
    """Call `give_back`, which must not refer to the owner, when the owner is gone.

    `detach` of the answer says whether that is still to come, and takes it over.
    """
    finalizer = weakref.finalize(owner, run_or_defer, give_back)
    # The device forgets a process that ends.
    finalizer.atexit = False
    return finalizer


def run_or_defer(give_back: Callable[[], None]) -> None:
    """Call it now, or at the end of what this thread must not be disturbed in.

    An error is dropped, for nobody is there to be told: a device that is broken says so at the next call.
    """
    _thread.due.append(give_back)
    with defer_finalizers():
        pass


@contextmanager
def defer_finalizers() -> Iterator[None]:
    """A section in which nothing is given back by this thread because it was dropped."""
    _thread.sections += 1
    try:
        yield
    finally:
        _thread.sections -= 1
        while _thread.due and not _thread.sections:
            _thread.sections += 1
            try:
                with suppress(EngineError):
                    _thread.due.pop(0)()
            finally:
                _thread.sections -= 1


@contextmanager
def recording() -> Iterator[None]:
    """This thread records a graph in this block: finalizers are deferred, nobody waits for the whole device."""
    with _recording, defer_finalizers():
        yield


def wait_for_device(cuda: CudaApi) -> None:
    """Wait for all work on the device, which CUDA forbids while any of it is being recorded."""
    with _recording:
        cuda.synchronize_device()
