"""When a picture was taken, on this machine's clock."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.sources.live.camera import Picture, stamper

MS = 10**6
IMAGE = np.zeros((2, 2, 3), np.uint8)
TIMES = st.one_of(st.none(), st.integers(-(10**18), 10**18))


@given(st.lists(st.tuples(st.integers(0, 10**9), TIMES), min_size=1), st.booleans())
def test_times_rise_and_are_never_in_the_future(
    steps: list[tuple[int, int | None]], on_host_clock: bool
) -> None:
    """Whatever the camera says."""
    stamp = stamper(on_host_clock)
    receive_ns, before_ns = 10**9, 0
    for step_ns, source_ns in steps:
        receive_ns += step_ns + 1
        capture_ns, _ = stamp(Picture(IMAGE, receive_ns, source_ns))
        assert before_ns < capture_ns <= receive_ns
        before_ns = capture_ns


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 100), min_size=10, max_size=60))
def test_delays_of_the_network_are_taken_out(offset_ns: int, delays_ms: list[int]) -> None:
    """Frames 33 ms apart keep their distance, once one has come without delay."""
    stamp = stamper(False)
    captures, taken_ns, receive_ns = [], 10**12, 0
    for delay_ms in [0, *delays_ms]:
        taken_ns += 33 * MS
        receive_ns = max(receive_ns + 1, taken_ns + delay_ms * MS)
        capture_ns, used_ns = stamp(Picture(IMAGE, receive_ns, taken_ns - offset_ns))
        assert capture_ns == taken_ns
        assert used_ns == offset_ns
        captures.append(capture_ns)
    assert set(np.diff(captures)) == {33 * MS}


def test_a_camera_on_this_clock_is_believed() -> None:
    assert stamper(True)(Picture(IMAGE, 10**12, 10**12 - 20 * MS)) == (10**12 - 20 * MS, 0)


def test_a_camera_that_only_claims_to_be_on_this_clock_is_not() -> None:
    capture_ns, offset_ns = stamper(True)(Picture(IMAGE, 10**12, 5))
    assert (capture_ns, offset_ns) == (10**12, 10**12 - 5)


def test_without_a_time_a_picture_was_taken_when_it_came() -> None:
    assert stamper(False)(Picture(IMAGE, 77)) == (77, 0)
