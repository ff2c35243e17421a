"""A recording in real time, by a clock that the test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.paced import PacedGaze
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.pace import Pace
from sam_edge.streaming.sources.paced import Paced
from sam_edge.streaming.sources.source import Frame, SourceInfo

MS = 10**6
IMAGE = np.zeros((2, 2, 3), np.uint8)


class Recording:
    """Frames 10 ms apart; reading one takes `read_ms`."""

    lost_frames = 0

    def __init__(self, count: int, read: Callable[[], None] = lambda: None, start_ns: int = 0) -> None:
        self.info = SourceInfo((2, 2), 100.0, count, start_ns, unix_ns=5)
        self.closed = False
        self._read = read

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.info.length or 0):
            self._read()
            yield Frame(IMAGE, index, self.info.start_ns + index * 10 * MS)

    def close(self) -> None:
        self.closed = True


class Clock:
    """Time passes where somebody waits."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, event: Event, seconds: float) -> bool:
        self.now_ns += max(1, round(seconds * 1e9))
        return event.is_set()


@given(st.floats(0.25, 8), st.integers(0, 10**12), st.integers(-(10**12), 10**12))
def test_frames_come_when_they_are_due_and_say_so(speed: float, start_ns: int, zero_ns: int) -> None:
    clock = Clock(start_ns)
    pace = Pace(zero_ns, start_ns, speed)
    source = Paced(Recording(5, start_ns=zero_ns), pace, clock=clock, wait=clock.wait)
    frames = list(source)
    assert source.info.live
    assert source.info.unix_ns is None
    assert source.info.start_ns == start_ns
    assert [frame.capture_ns for frame in frames] == [start_ns + round(i * 10 * MS / speed) for i in range(5)]
    assert all(0 <= frame.receive_ns - frame.capture_ns <= 1 for frame in frames)
    assert all(frame.capture_ns - frame.offset_ns == zero_ns + frame.index * 10 * MS for frame in frames)


@given(st.lists(st.integers(0, 60), min_size=8, max_size=40))
def test_frames_are_given_in_time_or_skipped(busy_ms: list[int]) -> None:
    """Whoever takes a frame is busy for a while; what they get next is newer than a frame's time."""
    clock = Clock()
    source = Paced(Recording(len(busy_ms)), Pace(0, 0), clock=clock, wait=clock.wait)
    given_frames = []
    for frame, busy in zip(source, busy_ms, strict=False):
        assert 0 <= frame.receive_ns - frame.capture_ns < 10 * MS
        given_frames.append(frame)
        clock.now_ns += busy * MS
    assert len(given_frames) + source.skipped_frames == len(busy_ms)


def test_a_source_that_is_too_slow_is_late_not_dark() -> None:
    clock = Clock()

    def read() -> None:
        clock.now_ns += 25 * MS

    source = Paced(Recording(400, read), Pace(0, 0), clock=clock, wait=clock.wait)
    frames = list(source)
    assert len(frames) + source.skipped_frames == 400
    gaps = np.diff([0, *(frame.receive_ns for frame in frames)])
    assert gaps.max() <= 600 * MS


def test_close_ends_the_wait_from_another_thread() -> None:
    recording = Recording(2)
    waits = Event()

    def wait(event: Event, seconds: float) -> bool:
        waits.set()
        return event.wait(seconds)

    source = Paced(recording, Pace(0, 10**18), clock=lambda: 0, wait=wait)
    ended: list[Frame] = []
    thread = threading.Thread(target=lambda: ended.extend(source))
    thread.start()
    assert waits.wait(5)
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert recording.closed
    assert not ended


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20).map(sorted), st.floats(0.25, 8))
def test_gaze_keeps_step_with_the_frames(times_ns: list[int], speed: float) -> None:
    clock = Clock(77)
    pace = Pace(0, 77, speed)
    samples = [GazeSample(t_ns, 0.25, 0.75, offset_ns=3) for t_ns in times_ns]
    paced = list(PacedGaze("gaze", samples, pace, clock=clock, wait=clock.wait))
    assert [sample.t_ns for sample in paced] == [pace.due_ns(t_ns) for t_ns in times_ns]
    assert all(sample.clock == "host" and 0 <= sample.receive_ns - sample.t_ns <= 1 for sample in paced)
    assert [s.offset_ns - p.offset_ns for s, p in zip(samples, paced, strict=True)] == [
        s.t_ns - p.t_ns for s, p in zip(samples, paced, strict=True)
    ]


def test_late_gaze_comes_at_once_and_whole() -> None:
    clock = Clock(10**12)
    samples = [GazeSample(t_ns, 0.5, 0.5) for t_ns in range(0, 10**9, 10**8)]
    assert len(list(PacedGaze("gaze", samples, Pace(0, 0), clock=clock, wait=clock.wait))) == 10


def test_closed_gaze_ends() -> None:
    gaze = PacedGaze("gaze", [GazeSample(10**18, 0.5, 0.5)], Pace(0, 0), clock=lambda: 0)
    gaze.close()
    assert not list(gaze)


def test_real_waiting_takes_the_time_of_the_recording() -> None:
    pace = Pace(0, time.monotonic_ns(), 2.0)
    samples = [GazeSample(t_ns, 0.5, 0.5) for t_ns in (0, 20 * MS, 40 * MS)]
    paced = list(PacedGaze("gaze", samples, pace))
    assert all(sample.receive_ns >= sample.t_ns for sample in paced)
    assert paced[-1].t_ns == pace.start_ns + 20 * MS
