"""Where rotation rates of a gyroscope come in."""

from __future__ import annotations

import math
from collections import deque

from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.motion.imu import Gyroscope

WAITING = 256
"""So many samples wait for the next frame: an eighth of a second at 2 kHz."""


class Turning:
    """Takes samples from any thread, and gives the gyroscope to the one that looks at frames.

    Args:
        config: says how wide the camera sees.
    """

    def __init__(self, config: GazeFilterConfig) -> None:
        self._config = config
        self._waiting: deque[tuple[int, tuple[float, float, float]]] = deque(maxlen=WAITING)
        self._gyroscope: Gyroscope | None = None
        self._frame_wh = (0, 0)

    def push(self, t_ns: int, rates_rad_s: tuple[float, float, float]) -> None:
        """A sample; see `Gyroscope`."""
        self._waiting.append((t_ns, rates_rad_s))

    def gyroscope(self, frame_wh: tuple[int, int]) -> Gyroscope | None:
        """Everything that came so far, for frames of that size (width, height); None if nothing came."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if self._gyroscope is None and not taken:
            return None
        if self._gyroscope is None or frame_wh != self._frame_wh:
            self._gyroscope, self._frame_wh = self._for(frame_wh), frame_wh
        if taken:
            times, rates = zip(*taken, strict=True)
            self._gyroscope = self._gyroscope.extended(times, rates)
        return self._gyroscope

    def _for(self, frame_wh: tuple[int, int]) -> Gyroscope:
        width, height = frame_wh
        if self._config.px_per_degree is not None:
            focal_px = math.degrees(self._config.px_per_degree)
        else:
            focal_px = width / 2 / math.tan(math.radians(min(self._config.horizontal_fov_deg, 170.0)) / 2)
        return Gyroscope(focal_px, (width / 2, height / 2))
