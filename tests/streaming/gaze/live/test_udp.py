"""Gaze as UDP datagrams, sent by a socket of this machine."""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.live.tracker import RejectedError, Tracker
from sam_edge.streaming.gaze.live.udp import open_udp, parse_datagram
from sam_edge.streaming.gaze.source import LiveGaze, open_live_gaze


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    with closing(open_udp("udp://127.0.0.1:0")) as opened:
        yield opened


def send(tracker: LiveGaze, *datagrams: bytes) -> None:
    port = int(tracker.name.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


def binary(t_ns: int, x: float, y: float, confidence: float, version: int = 1) -> bytes:
    return struct.pack("!3sBqfff", b"SEG", version, t_ns, x, y, confidence)


def test_both_forms(tracker: Tracker) -> None:
    before_ns = time.monotonic_ns()
    send(
        tracker,
        b'{"t_ns": 5000000, "x_norm": 0.25, "y_norm": 1, "confidence": 0.5, "pupil_mm": 3}\n',
        binary(6_000_000, 0.25, -0.5, 1.0),
    )
    first, second = islice(tracker, 2)
    assert (first.t_ns, first.x_norm, first.y_norm, first.confidence) == (5_000_000, 0.25, 1, 0.5)
    assert (second.t_ns, second.x_norm, second.y_norm, second.confidence) == (6_000_000, 0.25, -0.5, 1)
    for sample in (first, second):
        # The sender's clock may begin anywhere: whoever drives the stream finds its offset.
        assert (sample.clock, sample.offset_ns) == ("source", 0)
        assert before_ns <= sample.receive_ns <= time.monotonic_ns()


def test_without_a_time_the_arrival_counts(tracker: Tracker) -> None:
    send(tracker, b'{"x_norm": 0.5, "y_norm": 0.5}', binary(0, 0.5, 0.5, 1.0))
    for sample in islice(tracker, 2):
        assert sample.clock == "host"
        assert sample.t_ns == sample.receive_ns > 0


def test_what_is_dropped_is_counted(tracker: Tracker) -> None:
    send(
        tracker,
        b"",
        b"hello",
        b"SEG",
        binary(1, 0.5, 0.5, 1.0)[:-1],
        binary(1, 0.5, 0.5, 1.0) + b"x",
        b'{"x_norm": "0.5", "y_norm": 0.5}',
        b'{"x_norm": 0.5}',
        b'{"x_norm": true, "y_norm": 0.5}',
        b"[" * 1400,
        b" " * 1473 + b"{}",
        binary(1, 0.5, 0.5, 1.0, version=2),
        binary(1, math.nan, 0.5, 1.0),
        b'{"x_norm": NaN, "y_norm": 0.5}',
        b'{"x_norm": 0.5, "y_norm": 1e999}',
        b'{"x_norm": 0.5, "y_norm": 0.5, "confidence": 2}',
        b'{"x_norm": 1e9, "y_norm": 0.5}',
        b'{"t_ns": 99999999999999999999999, "x_norm": 0, "y_norm": 0.5}',
        b'{"x_norm": 0.5, "y_norm": 0.5}',
    )
    assert next(iter(tracker)).x_norm == 0.5
    assert tracker.dropped == {"malformed": 10, "unknown version": 1, "not finite": 3, "out of range": 3}


@given(
    st.one_of(
        st.binary(max_size=64),
        st.binary(max_size=64).map(lambda tail: b"SEG\x01" + tail),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["t_ns", "x_norm", "y_norm", "confidence", "a"]), inner, max_size=4
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
@example(b'{"x_norm": 1' + b"0" * 400 + b', "y_norm": 0}')
def test_nothing_that_comes_raises(datagram: bytes) -> None:
    try:
        sample = parse_datagram(datagram, 1)
    except RejectedError:
        return
    assert math.isfinite(sample.x_norm + sample.y_norm)


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        tracker = open_live_gaze("udp://[::1]:0")
    except InputError:
        pytest.skip("no IPv6 loopback here")
    assert tracker is not None
    with closing(tracker), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b'{"x_norm": 0.5, "y_norm": 0.5}', ("::1", int(tracker.name.rpartition(":")[2])))
        assert next(iter(tracker)).x_norm == 0.5


def test_a_port_in_use(tracker: Tracker) -> None:
    with pytest.raises(InputError, match="cannot listen"):
        open_udp(tracker.name)
    tracker.close()
    open_udp(tracker.name).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(InputError, match=host):
        open_udp(f"udp://{host}:5005")
