"""What is dropped without `close` is given back, but not in the middle of what that would break."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
    done: list[str] = []
    owner, other = Owner(), Owner()
    on_finalize(owner, partial(done.append, "owner"))
    on_finalize(other, partial(done.append, "other"))
    with defer_finalizers():
        with defer_finalizers():
            del owner
        assert done == []
        with ThreadPoolExecutor(1) as pool:
            # Another thread is not in the section.
            pool.submit(run_or_defer, partial(done.append, "elsewhere")).result()
        assert done == ["elsewhere"]
    assert done == ["elsewhere", "owner"]
    del other
    assert done[2:] == ["other"]


def test_what_falls_due_while_another_is_given_back_waits_for_it() -> None:
    done: list[str] = []

    def first() -> None:
        run_or_defer(partial(done.append, "second"))
        done.append("first")

    run_or_defer(first)
    assert done == ["first", "second"]


def test_a_device_that_fails_does_not_disturb_who_drops() -> None:
    def fail() -> None:
        raise EngineError("the device is broken")

    done: list[str] = []
    run_or_defer(fail)
    with defer_finalizers():
        run_or_defer(fail)
        run_or_defer(partial(done.append, "next"))
    assert done == ["next"]


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


def test_a_letterbox_is_closed_after_the_frame_that_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimulatedCuda()
    letterbox = Letterbox(cuda, PREPROCESS)
    launch = cuda.launch
    with ThreadPoolExecutor(1) as pool:

        def launch_while_closing(*arguments: Any) -> None:
            closing = pool.submit(letterbox.close)
            launch(*arguments)
            assert not closing.done()

        monkeypatch.setattr(cuda, "launch", launch_while_closing)
        made = letterbox(FRAME, VIEW)
    np.testing.assert_array_equal(made, encoder_input(FRAME, VIEW, PREPROCESS))
    with pytest.raises(InputError, match="letterbox was closed"):
        letterbox(FRAME, VIEW)
    letterbox.close()
    del made
    assert cuda.used == cuda.handles == 0
