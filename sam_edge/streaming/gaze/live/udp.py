"""Gaze as UDP datagrams: `udp://HOST:PORT`, for trackers and programs of one's own.

HOST is an address of this machine, to listen at: `127.0.0.1` hears programs of this machine alone, `0.0.0.0`
everybody. One datagram is one sample, in one of two forms:

- JSON, in UTF-8: `{"t_ns": 5000000, "x_norm": 0.25, "y_norm": 0.5, "confidence": 0.9}`. `t_ns` and `confidence`
  may be missing, more keys may be there.
- 24 bytes in network order: `SEG` and the version (a byte, 1), then t_ns (int64), x_norm, y_norm, confidence
  (float32 each); `struct` calls it `!3sBqfff`.

0 to 1 spans the image from its top left corner, confidence is 0 to 1. `t_ns` are nanoseconds of the sender's
own monotonic clock, which may begin anywhere; 0 or none: the time of arrival counts.
"""

from __future__ import annotations

import json
import socket
import struct
from time import monotonic_ns

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.live.address import parse_address
from sam_edge.streaming.gaze.live.tracker import Link, RejectedError, Tracker, checked_sample
from sam_edge.streaming.gaze.sample import GazeSample

PACKET = struct.Struct("!3sBqfff")
MARK, VERSION = b"SEG", 1
MAX_DATAGRAM = 1472
"""What an Ethernet frame holds."""


def open_udp(name: str) -> Tracker:
    """Listen at an address of this machine; port 0 takes a free one, which the tracker's name then tells.

    Raises:
        InputError: it is no such address, or somebody listens there already.
    """
    host, port = parse_address(name, "udp://HOST:PORT, such as udp://127.0.0.1:5005")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}", hint="give an address of this machine") from error
    try:
        listener.bind(where)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen at {name}: {error.strerror}", hint="give an address of this machine and a free port"
        ) from error

    def receive(link: Link) -> None:
        while not link.closed:
            if link.wait(listener, timeout_s=60.0):
                _take(listener, link)

    shown = f"[{host}]" if ":" in host else host
    return Tracker(f"udp://{shown}:{listener.getsockname()[1]}", receive, release=listener.close)


def _take(listener: socket.socket, link: Link) -> None:
    try:
        datagram = listener.recv(MAX_DATAGRAM + 1)
    except BlockingIOError:
        # A datagram with a wrong checksum is gone after all.
        return
    receive_ns = monotonic_ns()
    link.offer(lambda: parse_datagram(datagram, receive_ns))


def parse_datagram(datagram: bytes, receive_ns: int) -> GazeSample:
    """The sample in a datagram.

    Raises:
        RejectedError: `malformed`, `unknown version`, `not finite` or `out of range`.
    """
    if datagram.startswith(MARK):
        t_ns, x, y, confidence = _parse_binary(datagram)
    else:
        t_ns, x, y, confidence = _parse_json(datagram)
    if t_ns == 0:
        return checked_sample(receive_ns, x, y, confidence, clock="host", receive_ns=receive_ns)
    return checked_sample(t_ns, x, y, confidence, clock="source", receive_ns=receive_ns)


def _parse_binary(datagram: bytes) -> tuple[int, float, float, float]:
    if len(datagram) > len(MARK) and datagram[len(MARK)] != VERSION:
        raise RejectedError("unknown version")
    if len(datagram) != PACKET.size:
        raise RejectedError("malformed")
    _, _, t_ns, x, y, confidence = PACKET.unpack(datagram)
    return t_ns, x, y, confidence


def _parse_json(datagram: bytes) -> tuple[int, float, float, float]:
    if len(datagram) > MAX_DATAGRAM:
        raise RejectedError("malformed")
    try:
        fields = json.loads(datagram)
        t_ns, x, y = fields.get("t_ns", 0), fields["x_norm"], fields["y_norm"]
        confidence = fields.get("confidence", 1.0)
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise RejectedError("malformed") from error
    if type(t_ns) is not int or not all(type(value) in (int, float) for value in (x, y, confidence)):
        raise RejectedError("malformed")
    try:
        return t_ns, float(x), float(y), float(confidence)
    except OverflowError as error:
        raise RejectedError("out of range") from error
