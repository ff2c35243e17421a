"""Where images come from: one opener a kind of source, found by scheme or suffix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.openers import find_opener


@dataclass(frozen=True, eq=False)
class Frame:
    """An image and when it was taken."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    index: int
    """Counts the frames of the source that could be read, from 0."""
    capture_ns: int
    """Nanoseconds on the clock of the source; of live sources on this machine's monotonic clock."""
    receive_ns: int = 0
    """When it arrived, on this machine's monotonic clock; 0 in recordings."""
    offset_ns: int = 0
    """Nanoseconds that were added to the source's own time to get `capture_ns`."""


@dataclass(frozen=True)
class SourceInfo:
    """What is known about a source before it is read."""

    frame_wh: tuple[int, int]
    """Width and height of every frame, in pixels."""
    fps: float
    """Nominal frames per second."""
    length: int | None = None
    """How many frames there are, where that is known; a damaged file may hold fewer."""
    start_ns: int = 0
    """When the first frame was taken, on the clock of the source."""
    unix_ns: int | None = None
    """The zero of that clock in nanoseconds of Unix time, where that is known."""
    notes: tuple[str, ...] = ()
    """What was assumed, one sentence each."""
    live: bool = False
    """Whether frames come when they are taken, and are lost to whoever does not take them."""

    @property
    def end_ns(self) -> int | None:
        """When the last frame ends, on the clock of the source; None where the length is not known."""
        return None if self.length is None else self.start_ns + round(self.length / self.fps * 1e9)


class FrameSource(Protocol):
    """Frames in the order of time. Those of a recording have one size; a camera's may change.

    One thread iterates; any other thread may close the source, which ends the iteration.
    """

    @property
    def info(self) -> SourceInfo: ...

    @property
    def lost_frames(self) -> int:
        """How many frames could not be read so far; complete after the last frame."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Give the device or file back."""
        ...


class OpenSource(Protocol):
    """Opens a source."""

    def __call__(self, name: str, *, rate_hz: float | None = None) -> FrameSource:
        """Open what the user named; `rate_hz` are its frames per second, for a source that has no times.

        Raises:
            InputError: no such source, one without frames, or one that has times of its own.
        """
        ...


# See `find_opener` for the keys. A new source is a new file and a line here.
SOURCES: Mapping[str, str] = {
    "0": "sam_edge.streaming.sources.live.v4l2:open_v4l2",
    "/dev/video": "sam_edge.streaming.sources.live.v4l2:open_v4l2",
    "/dev/v4l/": "sam_edge.streaming.sources.live.v4l2:open_v4l2",
    "rtsp:": "sam_edge.streaming.sources.live.rtsp:open_rtsp",
    "rtsps:": "sam_edge.streaming.sources.live.rtsp:open_rtsp",
    "http:": "sam_edge.streaming.sources.live.mjpeg:open_mjpeg",
    "https:": "sam_edge.streaming.sources.live.mjpeg:open_mjpeg",
    "gst:": "sam_edge.streaming.sources.live.gstreamer:open_gstreamer",
    "csi:": "sam_edge.streaming.sources.live.gstreamer:open_gstreamer",
    "zenoh:": "sam_edge.streaming.sources.live.zenoh:open_zenoh_frames",
    "scene:": "sam_edge.streaming.sources.scene:open_scene",
    ".mcap": "sam_edge.streaming.sources.mcap:open_mcap",
    "/": "sam_edge.streaming.sources.folder:open_folder",
    "": "sam_edge.streaming.sources.video:VideoSource",
}
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""Of two letters at least: `C:` is a drive."""


def open_source(name: str, *, rate_hz: float | None = None) -> FrameSource:
    """Open a video file, a folder of images, a camera or a stream by its name or address; see `OpenSource`.

    Raises:
        InputError: no such source, or one without frames; for an unknown scheme it says which there are.
    """
    scheme = SCHEME.match(name)
    if scheme and scheme[0] not in SOURCES and not Path(name).exists():
        known = ", ".join(key for key in SOURCES if key.endswith(":"))
        raise InputError(
            f"{scheme[0]} is not a frame source",
            hint=f"give a video file, a folder of images, a camera's number or device, or one of {known}",
        )
    opener: OpenSource | None = find_opener(name, SOURCES)
    if opener is None:
        raise InputError(f"cannot tell how to read {name}", hint="give a video file")
    return opener(name, rate_hz=rate_hz)
