"""Giving back what an owner held on the device when it is dropped without `close`.

The garbage collector drops things in any thread and in the middle of anything: of the recording of a CUDA
graph, which freeing memory would break, or of a call of TensorRT, which holds a lock that the end of its
objects also takes. So what is dropped waits in a list, and our next work on the device gives it back.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sam_edge.errors import EngineError

_dropped: deque[Callable[[], None]] = deque()


def on_finalize(owner: object, give_back: Callable[[], None]) -> weakref.finalize[..., Any]:
    """Call `give_back`, which must not refer to the owner, some time after the owner is gone.

    `detach` of the answer says whether that is still to come, and takes it over.
    """
    finalizer = weakref.finalize(owner, _dropped.append, give_back)
    # The device forgets a process that ends.
    finalizer.atexit = False
    return finalizer


def give_back_dropped() -> None:
    """Give back what was dropped. An error is left out: a device that is broken says so at the next call."""
    while True:
        try:
            give_back = _dropped.popleft()
        except IndexError:
            return
        with suppress(EngineError):
            give_back()
