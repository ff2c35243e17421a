"""A mouse as the gaze, for a desk without an eye tracker: `mouse`, or `mouse:PATH` of another device.

Linux gives every mouse as PS/2 packets of three bytes at /dev/input/mice (the kernel's mousedev): buttons
and signs, motion to the right, motion up. The point moves by a pixel of an image of 1280x720 for each count,
and stays inside. While the mouse rests, its point is sent again, as an eye tracker would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.live.tracker import Link, Tracker
from sam_edge.streaming.gaze.sample import GazeSample

DEVICE = "/dev/input/mice"
COUNTS_WH = (1280, 720)
"""So many counts lead across the image and down it."""
REST_S = 0.02
"""A mouse that rests gives 50 samples a second."""
ALWAYS_SET, X_NEGATIVE, Y_NEGATIVE, OVERFLOW = 0x08, 0x10, 0x20, 0xC0
CHUNK = 3 * 64


def open_mouse(name: str) -> Tracker:
    """Follow the mouse from the middle of the image.

    Raises:
        InputError: there is no such device, or it may not be read.
    """
    path = name.partition(":")[2] or DEVICE
    if not Path(path).exists():
        raise InputError(f"there is no mouse at {path}", hint="give mouse:PATH of a device")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read", hint="run as root, or join its group, often input")
    return Tracker(name, lambda link: _receive(path, link))


def _receive(path: str, link: Link) -> None:
    # Non-blocking: a FIFO would wait for its writer.
    device = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        packets, point = Packets(), Point()
        while not link.closed:
            if link.wait(device, timeout_s=REST_S):
                try:
                    data = os.read(device, CHUNK)
                except BlockingIOError:
                    continue
                if not data:
                    raise OSError(f"nobody sends to {path}")
                for motion in packets.feed(data):
                    if motion is None:
                        link.drop("malformed")
                    else:
                        point.move(*motion)
                        link.emit(point.sample())
            elif not link.closed:
                link.emit(point.sample())
    finally:
        os.close(device)


class Point:
    """Where the mouse points."""

    def __init__(self) -> None:
        self._x, self._y = 0.5, 0.5

    def move(self, right: int, up: int) -> None:
        self._x = min(1.0, max(0.0, self._x + right / COUNTS_WH[0]))
        self._y = min(1.0, max(0.0, self._y - up / COUNTS_WH[1]))

    def sample(self) -> GazeSample:
        now_ns = monotonic_ns()
        return GazeSample(now_ns, self._x, self._y, 1.0, "host", 0, now_ns)


class Packets:
    """Finds the packets in the bytes of a mouse, however they are cut."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int] | None]:
        """The motion (right, up) of each packet, in counts; None for a byte out of step, or an overflow."""
        data = self._left + data
        at = 0
        while at < len(data):
            head = data[at]
            if not head & ALWAYS_SET:
                yield None
                at += 1
            elif at + 3 > len(data):
                break
            else:
                # Nine bits in two's complement: the signs stand in the first byte.
                right = data[at + 1] - (256 if head & X_NEGATIVE else 0)
                up = data[at + 2] - (256 if head & Y_NEGATIVE else 0)
                yield None if head & OVERFLOW else (right, up)
                at += 3
        self._left = data[at:]
