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
from sam_edge.runtimes.cuda.memory import Staging, pool_of
from sam_edge.runtimes.cuda.release import give_back_dropped, on_finalize
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda

PREPROCESS = Preprocess((127.5, 127.5, 127.5), (50.0, 60.0, 70.0), "antialias")
VIEW = InputSize(long_side=64, multiple=32, square=True).view((100, 60))
FRAME = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)


class Owner:
    """Something to drop."""


def test_what_is_dropped_is_given_back_later() -> None:
    done: list[str] = []
    owners = {name: Owner() for name in ("first", "broken", "last")}

    def fail() -> None:
        raise EngineError("the device is broken")

    for name, owner in owners.items():
        on_finalize(owner, fail if name == "broken" else partial(done.append, name))
    del owner
    owners.clear()
    assert done == []
    give_back_dropped()
    assert done == ["first", "last"]


def test_memory_is_not_freed_while_a_graph_is_recorded() -> None:
    cuda = SimulatedCuda()
    stream = cuda.stream(high_priority=False)
    block, staging = pool_of(cuda).take(64), Staging(cuda, 64)
    cuda.begin_capture(stream)
    # The simulated device refuses to free while it records.
    del block, staging
    cuda.graph_free(cuda.end_capture(stream))
    cuda.stream_free(stream)
    pool_of(cuda).trim()
    assert cuda.used == cuda.handles == 0


def test_a_letterbox_that_is_dropped_gives_all_back() -> None:
    cuda = SimulatedCuda()
    letterbox = Letterbox(cuda, PREPROCESS)
    made = letterbox(FRAME, VIEW)
    del letterbox
    give_back_dropped()
    assert cuda.handles == 0
    np.testing.assert_array_equal(made, encoder_input(FRAME, VIEW, PREPROCESS))
    del made
    pool_of(cuda).trim()
    assert cuda.used == 0


def test_a_letterbox_is_closed_after_the_frame_that_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimulatedCuda()
    letterbox = Letterbox(cuda, PREPROCESS)
    launch = cuda.launch
    with ThreadPoolExecutor(1) as threads:

        def launch_while_closing(*arguments: Any) -> None:
            closing = threads.submit(letterbox.close)
            launch(*arguments)
            assert not closing.done()

        monkeypatch.setattr(cuda, "launch", launch_while_closing)
        made = letterbox(FRAME, VIEW)
    np.testing.assert_array_equal(made, encoder_input(FRAME, VIEW, PREPROCESS))
    with pytest.raises(InputError, match="letterbox was closed"):
        letterbox(FRAME, VIEW)
    letterbox.close()
    del made
    pool_of(cuda).trim()
    assert cuda.used == cuda.handles == 0
