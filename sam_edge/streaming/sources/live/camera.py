"""One connection to a camera, as a frame source: what all kinds of cameras have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.clocks import DelayOffset
from sam_edge.streaming.sources.source import Frame, SourceInfo

DEFAULT_FPS = 30.0
PLAUSIBLE_FPS = (1.0, 1000.0)
"""Streams that do not know their rate say 0, or that of their clock, such as 90000."""
SILENT_S = 1.0
"""A stream that ends after such a wait fell silent: OpenCV answers alike in both cases."""
MAX_AGE_NS = 2_000_000_000
"""A picture that says it is older was stamped by another clock."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera sent."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    receive_ns: int
    """When it arrived, on this machine's monotonic clock."""
    source_ns: int | None = None
    """When it was taken, on the clock of the camera; None: the camera does not say."""


class Camera(Protocol):
    """One connection. One thread reads; any thread may close."""

    @property
    def name(self) -> str:
        """What errors call it, without a password."""
        ...

    @property
    def fps(self) -> float:
        """Nominal frames per second; 0 where it is not known."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, one sentence each."""
        ...

    @property
    def lost_frames(self) -> int:
        """Pictures that came and could not be decoded."""
        ...

    @property
    def on_host_clock(self) -> bool:
        """Whether `source_ns` is meant to be on this machine's monotonic clock."""
        ...

    def read(self) -> Picture | None:
        """Wait for the next picture, some seconds at most; None at the end of the stream and after `close`.

        Raises:
            InputError: the connection is lost; it says why.
        """
        ...

    def close(self) -> None:
        """Give the device or connection back, and wake who reads, as soon as that is possible."""
        ...


class CameraSource:
    """The frames of one connection, with the times when they were taken on this machine's clock."""

    def __init__(self, camera: Camera) -> None:
        """Wait for the first picture.

        Raises:
            InputError: none comes.
        """
        self._camera = camera
        self._stamp = stamper(camera.on_host_clock)
        self._closing = Event()
        try:
            first = self._read()
            if first is None:
                raise InputError(f"{camera.name} ends before its first picture", hint="is the camera on?")
        except BaseException:
            camera.close()
            raise
        self._first = first
        known = PLAUSIBLE_FPS[0] <= camera.fps <= PLAUSIBLE_FPS[1]
        self.info = SourceInfo(
            (first.image.shape[1], first.image.shape[0]),
            camera.fps if known else DEFAULT_FPS,
            notes=camera.notes,
            live=True,
        )

    @property
    def lost_frames(self) -> int:
        return self._camera.lost_frames

    def __iter__(self) -> Iterator[Frame]:
        """Frames as they come, in one pass.

        Raises:
            InputError: the connection is lost; it says why.
        """
        picture: Picture | None = self._first
        index = 0
        while picture is not None:
            capture_ns, offset_ns = self._stamp(picture)
            yield Frame(picture.image, index, capture_ns, picture.receive_ns, offset_ns)
            picture = self._read()
            index += 1

    def close(self) -> None:
        self._closing.set()
        self._camera.close()

    def _read(self) -> Picture | None:
        started_ns = now_ns()
        picture = self._camera.read()
        waited_s = (now_ns() - started_ns) / 1e9
        if picture is None and waited_s >= SILENT_S and not self._closing.is_set():
            raise InputError(f"{self._camera.name} sent nothing for {waited_s:.0f} s", hint="is the camera on?")
        return picture


def stamper(on_host_clock: bool) -> Callable[[Picture], tuple[int, int]]:
    """A function from pictures, in their order, to `capture_ns` and `offset_ns` of their frames.

    Without a time of the camera a picture counts as taken when it came. With one, the smallest delay counts as
    none (`DelayOffset`), so ages are too small by it: what a network and a decoder need at least. Times rise
    from picture to picture and are never in the future.
    """
    clock, newest_ns = DelayOffset(), 0

    def stamp(picture: Picture) -> tuple[int, int]:
        nonlocal clock, newest_ns
        offset_ns = 0
        if picture.source_ns is None:
            capture_ns = picture.receive_ns
        elif on_host_clock and 0 <= picture.receive_ns - picture.source_ns <= MAX_AGE_NS:
            capture_ns = picture.source_ns
        else:
            clock = clock.after(picture.source_ns, picture.receive_ns)
            offset_ns = clock.offset_ns or 0
            capture_ns = picture.source_ns + offset_ns
        newest_ns = max(newest_ns + 1, min(capture_ns, picture.receive_ns))
        return newest_ns, offset_ns

    return stamp


def now_ns() -> int:
    """This machine's monotonic clock."""
    return time.monotonic_ns()
