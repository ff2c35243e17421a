"""Where images come from: one opener a kind of source, found by the look of its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam_edge.lazy import import_object


@dataclass(frozen=True, eq=False)
class Frame:
    """An image and when it was taken."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    index: int
    """Counts from 0."""
    capture_ns: int
    """On the clock of the source; the first frame of a file is at 0."""


class FrameSource(Protocol):
    """Frames of one size, in the order of time."""

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height of every frame, in pixels."""
        ...

    @property
    def fps(self) -> float:
        """Nominal frames per second."""
        ...

    @property
    def length(self) -> int | None:
        """How many frames there are, where that is known; a damaged file may hold fewer."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Give the device or file back."""
        ...


# Pattern of the name -> opener taking the name. The first that matches wins.
SOURCES: Mapping[str, str] = {
    r"scene:": "sam_edge.streaming.sources.scene:open_scene",
    r"": "sam_edge.streaming.sources.video:VideoSource",
}


def open_source(name: str) -> FrameSource:
    """Open a video file, or `scene:SEED` for a generated scene.

    Raises:
        InputError: no such source, or one without frames.
    """
    where = next(where for pattern, where in SOURCES.items() if re.match(pattern, name))
    source: FrameSource = import_object(where)(name)
    return source
