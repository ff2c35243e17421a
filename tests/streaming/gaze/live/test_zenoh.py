"""Gaze over Zenoh, sent by a session of this process."""

from __future__ import annotations

import time
from contextlib import closing
from itertools import islice
from threading import Thread

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.source import open_live_gaze
from sam_edge.streaming.zenoh.messages import gaze_message
from tests.streaming.zenoh.peers import await_match, free_endpoint, peer

pytest.importorskip("zenoh")


@pytest.mark.parametrize(("clock", "expected"), [("delay", "source"), ("unix", "host")])
def test_samples_with_their_times_and_what_is_none_is_counted(clock: str, expected: str) -> None:
    endpoint = free_endpoint()
    tracker = open_live_gaze(f"zenoh:glasses?listen={endpoint}&clock={clock}")
    assert tracker is not None
    with closing(tracker), peer(connect=endpoint) as glasses:
        publisher = glasses.declare_publisher("glasses/gaze")
        samples = iter(tracker)
        sent_ns = []

        def send() -> None:
            await_match(publisher)
            for malformed in (b"\xff", b'{"v": 9}', b"x" * 100_000):
                publisher.put(malformed)
            for k in range(3):
                sent_ns.append(time.monotonic_ns())
                publisher.put(gaze_message(k / 4, 0.5, t_ns=sent_ns[-1]))

        # The tracker subscribes when it is first asked.
        sender = Thread(target=send)
        sender.start()
        heard = list(islice(samples, 3))
        sender.join()
        assert [sample.x_norm for sample in heard] == [0, 0.25, 0.5]
        assert {sample.clock for sample in heard} == {expected}
        # One machine: both clocks are ours, but for what was done between two looks at them.
        assert [sample.t_ns for sample in heard] == pytest.approx(sent_ns, abs=50_000_000)
        assert dict(tracker.dropped) == {"malformed": 2, "unknown version": 1}


def test_an_address_that_is_none() -> None:
    with pytest.raises(InputError, match="clock"):
        open_live_gaze("zenoh:a?clock=tai")
    with pytest.raises(InputError, match="prefix"):
        open_live_gaze("zenoh:")
