"""Packets of RTP and RTCP (RFC 3550), as far as gaze needs them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sam_edge.streaming.gaze.live.tracker import RejectedError

NTP_TO_UNIX_S = 2_208_988_800
"""NTP counts from 1900."""
SENDER_REPORT, RECEIVER_REPORT = 200, 201


@dataclass(frozen=True)
class RtpPacket:
    """A packet of media."""

    payload_type: int
    timestamp: int
    """32 bits, on the media's clock."""
    payload: bytes


@dataclass(frozen=True)
class SenderReport:
    """The sender's word that two clocks showed these times together."""

    unix_ns: int
    timestamp: int
    """Of RTP, 32 bits."""

    def unix_of(self, timestamp: int, clock_hz: int) -> int:
        """Unix nanoseconds of an RTP timestamp, which may be before the report, or after the counter's wrap."""
        ticks = (timestamp - self.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
        return self.unix_ns + ticks * 1_000_000_000 // clock_hz


def parse_rtp(data: bytes) -> RtpPacket:
    """Raises RejectedError ("malformed") where the packet is not one."""
    if len(data) < 12 or data[0] >> 6 != 2:
        raise RejectedError("malformed")
    begin, end = 12 + 4 * (data[0] & 0x0F), len(data)
    if data[0] & 0x10:
        if len(data) < begin + 4:
            raise RejectedError("malformed")
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    if data[0] & 0x20:
        # The last byte says how many are padding, itself among them.
        end -= max(1, data[-1])
    if begin > end:
        raise RejectedError("malformed")
    return RtpPacket(data[1] & 0x7F, int.from_bytes(data[4:8], "big"), data[begin:end])


def parse_rtcp(data: bytes) -> SenderReport | None:
    """The last sender report in a compound of packets; None if it has none, or is malformed."""
    found, at = None, 0
    while at + 4 <= len(data) and data[at] >> 6 == 2:
        size = 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == SENDER_REPORT and size >= 20 and at + 20 <= len(data):
            seconds, fraction, timestamp = struct.unpack_from("!III", data, at + 8)
            unix_ns = (seconds - NTP_TO_UNIX_S) * 1_000_000_000 + (fraction * 1_000_000_000 >> 32)
            found = SenderReport(unix_ns, timestamp)
        at += size
    return found


def receiver_report(source: int) -> bytes:
    """An empty report, which tells the sender that somebody still listens.

    Args:
        source: 32 bits that name the receiver.
    """
    return struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, source)
