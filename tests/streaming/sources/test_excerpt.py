"""A part of a video keeps the times of the whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.sources.excerpt import Excerpt
from sam_edge.streaming.sources.source import Frame, SourceInfo

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Listed:
    """Frames at chosen times; the one at `lost_at_s` cannot be read."""

    def __init__(self, times_s: list[float], length: int | None = None, lost_at_s: float | None = None) -> None:
        self.info = SourceInfo((4, 4), 10.0, length, start_ns=round(times_s[0] * 1e9))
        self.lost_frames = 0
        self.closed = False
        self._times_s = times_s
        self._lost_at_s = lost_at_s

    def __iter__(self) -> Iterator[Frame]:
        for index, time_s in enumerate(self._times_s):
            if time_s == self._lost_at_s:
                self.lost_frames += 1
            else:
                yield Frame(IMAGE, index, round(time_s * 1e9))

    def close(self) -> None:
        self.closed = True


TIMES_S = [k / 10 for k in range(20)]


@given(st.none() | st.floats(0, 1.89), st.none() | st.floats(0.11, 5))
def test_frames_of_the_part(start_s: float | None, seconds: float | None) -> None:
    part = Excerpt(Listed(TIMES_S, 20), start_s, seconds)
    found = [(frame.index, frame.capture_ns) for frame in part]
    low = start_s or 0.0
    high = float("inf") if seconds is None else low + seconds
    # Compared in whole nanoseconds, as the frames are.
    assert found == [
        (k, round(t * 1e9)) for k, t in enumerate(TIMES_S) if round(low * 1e9) <= round(t * 1e9) < high * 1e9
    ]
    assert part.info.length is not None
    assert abs(len(found) - part.info.length) <= 1
    assert part.info.start_ns == round(low * 1e9)


def test_only_what_was_lost_in_the_part_counts() -> None:
    before, inside = (
        Excerpt(Listed(TIMES_S, 20, lost_at_s=0.3), 0.5),
        Excerpt(Listed(TIMES_S, 20, lost_at_s=0.9), 0.5),
    )
    for part, lost in ((before, 0), (inside, 1)):
        list(part)
        assert part.lost_frames == lost


def test_a_part_behind_the_end() -> None:
    with pytest.raises(InputError, match=r"no frame from 2\.000 s"):
        Excerpt(Listed(TIMES_S, 20), 2.0)
    unknown = Excerpt(Listed(TIMES_S), 2.0)
    with pytest.raises(InputError, match=r"no frame from 2\.000 s"):
        list(unknown)


def test_times_count_from_the_zero_of_the_file() -> None:
    late = [0.667 + t for t in TIMES_S]
    assert [frame.index for frame in Excerpt(Listed(late, 20), 0.667, 0.15)] == [0, 1]
    assert [frame.index for frame in Excerpt(Listed(late, 20), 0.1, 0.15)] == [0, 1]


def test_closing_closes_the_source() -> None:
    source = Listed(TIMES_S)
    Excerpt(source, 1.0).close()
    assert source.closed
