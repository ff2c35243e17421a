"""One gaze sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GazeClock = Literal["video", "first-sample", "first-frame", "unix", "host", "source"]
"""What gaze times count from. Of recordings: `video`, the zero of the video's own clock; `first-sample`, the
first sample belongs to the first frame; `first-frame`, the video's first frame, which a file beside the
recording dates; `unix`, 1970, and the video's file says when it was taken. Of trackers that run now: `host`,
this machine's monotonic clock; `source`, the tracker's own, with an unknown offset."""


@dataclass(frozen=True, slots=True)
class GazeSample:
    """Where an eye looks at one moment."""

    t_ns: int
    """Nanoseconds, on the clock of the recording; on the clock of the frames after `to_frame_clock`."""
    x_norm: float
    """Across the scene image, 0 at its left, 1 at its right edge; may leave that range."""
    y_norm: float
    """Down the scene image, 0 at its top, 1 at its bottom edge; may leave that range."""
    confidence: float = 1.0
    """0 (a blink, or the eye was not found) to 1."""
    clock: GazeClock = "video"
    """How the time of the recording became `t_ns`."""
    offset_ns: int = 0
    """Nanoseconds that were added to the time that the recording or tracker gave to get `t_ns`."""
    receive_ns: int = 0
    """When it arrived, on this machine's monotonic clock; 0 in recordings."""

    def to_px(self, frame_wh: tuple[int, int]) -> tuple[float, float]:
        """The point (x, y) in pixels of a frame (width, height)."""
        return self.x_norm * frame_wh[0], self.y_norm * frame_wh[1]
