"""Packets of RTP and RTCP."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.live.rtp import SenderReport, parse_rtcp, parse_rtp, receiver_report
from sam_edge.streaming.gaze.live.tracker import RejectedError

HEAD = struct.pack("!BBHII", 0x80, 0x80 | 99, 7, 123_456, 1)


def sender_report(unix_s: float, timestamp: int) -> bytes:
    seconds = int(unix_s)
    return struct.pack(
        "!BBHIIIIII", 0x80, 200, 6, 1, seconds + 2_208_988_800, int((unix_s - seconds) * 2**32), timestamp, 0, 0
    )


@pytest.mark.parametrize(
    ("packet", "payload"),
    [
        (HEAD + b"gaze", b"gaze"),
        (HEAD, b""),
        # Two contributing sources; an extension of one word; four bytes of padding.
        (bytes([0x82]) + HEAD[1:] + bytes(8) + b"gaze", b"gaze"),
        (bytes([0x90]) + HEAD[1:] + b"\xbe\xde\x00\x01wordgaze", b"gaze"),
        (bytes([0xA0]) + HEAD[1:] + b"gaze\0\0\0\x04", b"gaze"),
    ],
)
def test_rtp(packet: bytes, payload: bytes) -> None:
    parsed = parse_rtp(packet)
    assert (parsed.payload_type, parsed.timestamp, parsed.payload) == (99, 123_456, payload)


@pytest.mark.parametrize(
    "packet", [HEAD[:11], b"\x40" + HEAD[1:], b"\x8f" + HEAD[1:], b"\xa0" + HEAD[1:] + b"\xff"]
)
def test_what_is_no_rtp(packet: bytes) -> None:
    with pytest.raises(RejectedError):
        parse_rtp(packet)


def test_a_report_in_a_compound() -> None:
    names = struct.pack("!BBHI", 0x81, 202, 1, 1)
    report = parse_rtcp(names + sender_report(1_700_000_000.25, 900) + names)
    assert report == SenderReport(1_700_000_000_250_000_000, 900)
    assert parse_rtcp(names) is None
    assert parse_rtcp(receiver_report(5)) is None


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.sampled_from([1000, 90_000]))
def test_times_before_a_report_and_after_the_counters_wrap(timestamp: int, ticks: int, clock_hz: int) -> None:
    report = SenderReport(10**18, timestamp)
    expected = 10**18 + ticks * 10**9 / clock_hz
    assert report.unix_of((timestamp + ticks) % 2**32, clock_hz) == pytest.approx(expected, abs=1000)


@given(st.binary(max_size=80))
def test_nothing_that_comes_raises(data: bytes) -> None:
    parse_rtcp(data)
    parse_rtcp(b"\x80\xc8\x00\x06" + data)
    for packet in (data, b"\xb5" + data):
        with suppress(RejectedError):
            assert len(parse_rtp(packet).payload) < len(packet)
