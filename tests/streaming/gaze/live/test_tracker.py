"""What all live trackers share: newest wins, drops are counted, closing ends a wait, lost ones come back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.live.tracker import Link, RejectedError, Tracker, checked_sample
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import LIVE_GAZE_SOURCES, open_live_gaze

PATIENCE_S = 20.0


def sample(number: int) -> GazeSample:
    return GazeSample(number, 0.5, 0.5, clock="host", receive_ns=1)


def test_of_what_nobody_reads_the_newest_eight_stay() -> None:
    go, sent = Event(), Event()

    def receive(link: Link) -> None:
        link.emit(sample(0))
        assert go.wait(PATIENCE_S)
        for number in range(1, 101):
            link.emit(sample(number))
        sent.set()
        link.wait(timeout_s=PATIENCE_S)

    with closing(Tracker("test:", receive)) as tracker:
        samples = iter(tracker)
        next(samples)
        go.set()
        assert sent.wait(PATIENCE_S)
        assert [s.t_ns for s in islice(samples, 8)] == list(range(93, 101))
        assert tracker.dropped == {"unread": 92}


def test_closing_ends_a_wait() -> None:
    waiting = Event()

    def receive(link: Link) -> None:
        waiting.set()
        link.wait(timeout_s=10 * PATIENCE_S)

    tracker = Tracker("test:", receive)
    seen: list[GazeSample] = []
    reader = Thread(target=lambda: seen.extend(tracker))
    reader.start()
    assert waiting.wait(PATIENCE_S)
    tracker.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert seen == []
    tracker.close()
    assert list(tracker) == []


def test_what_was_opened_is_given_back_once() -> None:
    released: list[str] = []
    for iterate in (False, True):
        tracker = Tracker("test:", lambda link: link.emit(sample(1)), release=lambda: released.append("x"))
        if iterate:
            next(iter(tracker))
        tracker.close()
        tracker.close()
    assert released == ["x", "x"]


@pytest.mark.parametrize("failure", [ConnectionError("the tracker is asleep"), ValueError("odd"), None])
def test_a_lost_tracker_is_said_once_and_comes_back(
    failure: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    tries = iter(range(100))

    def receive(link: Link) -> None:
        if next(tries) < 2:
            if failure:
                raise failure
            return
        link.emit(sample(7))
        link.wait(timeout_s=PATIENCE_S)

    with closing(Tracker("test:eye", receive)) as tracker, caplog.at_level(logging.WARNING):
        assert next(iter(tracker)).t_ns == 7
    (record,) = caplog.records
    assert record.getMessage().startswith("test:eye: ")
    assert "\n" not in record.getMessage()


def test_rejected_messages_are_counted_by_reason() -> None:
    def bad(reason: str) -> Callable[[], GazeSample]:
        def parse() -> GazeSample:
            raise RejectedError(reason)

        return parse

    def receive(link: Link) -> None:
        for reason in ("malformed", "not finite", "malformed"):
            link.offer(bad(reason))
        link.offer(lambda: sample(3))
        link.wait(timeout_s=PATIENCE_S)

    with closing(Tracker("test:", receive)) as tracker:
        assert next(iter(tracker)).t_ns == 3
        assert tracker.dropped == {"malformed": 2, "not finite": 1}


@given(st.integers(), st.floats(), st.floats(), st.floats())
def test_numbers_are_finite_and_in_range_or_rejected(t_ns: int, x: float, y: float, confidence: float) -> None:
    try:
        made = checked_sample(t_ns, x, y, confidence, clock="host", receive_ns=1)
    except RejectedError:
        return
    assert max(abs(made.x_norm), abs(made.y_norm)) <= 100
    assert 0 <= made.confidence <= 1


def test_an_unknown_scheme_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError) as refused:
        open_live_gaze("tobii://192.168.1.1")
    for scheme in ("udp:", "lsl:", "neon:", "core:", "mouse"):
        assert scheme in LIVE_GAZE_SOURCES
        assert scheme in (refused.value.hint or "")
    assert open_live_gaze("gaze.csv") is None


@pytest.mark.parametrize(
    "name",
    [
        "udp:5005", "udp://127.0.0.1", "udp://127.0.0.1:x", "udp://127.0.0.1:65536", "udp://:5005/a", "udp://[::1",
        "udp://127.0.0.1:5005?x=1", "neon://", "neon://host:0x50", "neon://user@host", "core://", "core:host",
        "lsl:a?size=0x1", "lsl:a?wh=1x1", "lsl:a'b", "mouse:/nowhere/at/all",
    ],
)  # fmt: skip
def test_wrong_addresses(name: str) -> None:
    with pytest.raises(InputError) as refused:
        open_live_gaze(name)
    assert refused.value.hint
