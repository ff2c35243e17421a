"""What is dropped without `close` is given back, but not in the middle of what that would break."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock, get_ident
from typing import Any

import numpy as np
import pytest

from sam_edge.errors import EngineError, InputError
from sam_edge.geometry import InputSize
from sam_edge.imaging.image import encoder_input
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.runtimes.cuda.letterbox import Letterbox
from sam_edge.runtimes.cuda.memory import MemoryPool, Staging
from sam_edge.runtimes.cuda.release import (
    defer_finalizers,
    on_finalize,
    recording,
    run_or_defer,
    wait_for_device,
)
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda

PREPROCESS = Preprocess((127.5, 127.5, 127.5), (50.0, 60.0, 70.0), "antialias")
VIEW = InputSize(long_side=64, multiple=32, square=True).view((100, 60))
FRAME = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)


class Owner:
    """Something to drop."""


def test_what_is_dropped_in_a_section_is_given_back_at_its_end() -> None:
    told: list[str] = []
    owner, other = Owner(), Owner()
    on_finalize(owner, partial(told.append, "owner"))
    on_finalize(other, partial(told.append, "other"))
    with defer_finalizers():
        with defer_finalizers():
            del owner
        assert told == []
        with ThreadPoolExecutor(1) as pool:
            # Another thread is not in the section.
            pool.submit(run_or_defer, partial(told.append, "elsewhere")).result()
        assert told == ["elsewhere"]
    assert told == ["elsewhere", "owner"]
    del other
    assert told[2:] == ["other"]


def test_what_falls_due_while_another_is_given_back_waits_for_it() -> None:
    told: list[str] = []

    def first() -> None:
        run_or_defer(partial(told.append, "second"))
        told.append("first")

    run_or_defer(first)
    assert told == ["first", "second"]


def test_a_device_that_fails_does_not_disturb_who_drops() -> None:
    def fail() -> None:
        raise EngineError("the device is broken")

    told: list[str] = []
    run_or_defer(fail)
    with defer_finalizers():
        run_or_defer(fail)
        run_or_defer(partial(told.append, "next"))
    assert told == ["next"]


def test_nobody_waits_for_the_device_while_a_graph_is_recorded() -> None:
    cuda = SimulatedCuda()
    stream = cuda.stream(high_priority=False)
    with ThreadPoolExecutor(1, initializer=cuda.enter) as pool:
        with recording():
            cuda.begin_capture(stream)
            waiting = pool.submit(wait_for_device, cuda)
            cuda.enqueue(stream, "recorded", lambda: None)
            cuda.end_capture(stream)
        # The simulated device refuses to be waited for while it records.
        waiting.result()


def test_memory_is_not_freed_while_a_graph_is_recorded() -> None:
    cuda = SimulatedCuda()
    stream = cuda.stream(high_priority=False)
    pool = MemoryPool(cuda)
    block, staging = pool.take(64), Staging(cuda, 64, mapped=False)
    pool.close()
    with recording():
        cuda.begin_capture(stream)
        del block, staging
        graph = cuda.end_capture(stream)
    cuda.graph_free(graph)
    cuda.stream_free(stream)
    assert cuda.used == cuda.handles == 0


def test_a_letterbox_that_is_dropped_gives_all_back() -> None:
    cuda = SimulatedCuda()
    letterbox = Letterbox(cuda, PREPROCESS)
    made = letterbox(FRAME, VIEW)
    del letterbox
    assert cuda.handles == 0
    np.testing.assert_array_equal(made, encoder_input(FRAME, VIEW, PREPROCESS))
    del made
    assert cuda.used == 0


class Watched:
    """A lock that tells when somebody comes to it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.came: list[int] = []

    def __enter__(self) -> None:
        self.came.append(get_ident())
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_a_letterbox_is_closed_after_the_frame_that_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimulatedCuda()
    letterbox, lock = Letterbox(cuda, PREPROCESS), Watched()
    monkeypatch.setattr(letterbox, "_lock", lock)
    launch = cuda.launch
    with ThreadPoolExecutor(1) as pool:

        def launch_while_closing(*arguments: Any) -> None:
            closing = pool.submit(letterbox.close)
            # The other thread waits for the lock, or is done where it takes none.
            while len(lock.came) < 2 and not closing.done():
                pass
            launch(*arguments)

        monkeypatch.setattr(cuda, "launch", launch_while_closing)
        made = letterbox(FRAME, VIEW)
    np.testing.assert_array_equal(made, encoder_input(FRAME, VIEW, PREPROCESS))
    with pytest.raises(InputError, match="letterbox was closed"):
        letterbox(FRAME, VIEW)
    letterbox.close()
    del made
    assert cuda.used == cuda.handles == 0
