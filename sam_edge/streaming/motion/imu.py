"""The camera's turn by a gyroscope: what is left when nothing can be seen, and where to search when it can."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.streaming.motion.motion import Motion

SPAN_NS = 4_000_000_000
"""How much of the past is kept."""
MAX_GAP_NS = 50_000_000
"""Between samples, and from the first or last one to the time asked for: beyond it nothing is known."""


@dataclass(frozen=True, eq=False)
class Gyroscope:
    """Rotation rates of the last seconds. A value: `extended` makes a new one."""

    focal_px: float
    """Focal length in pixels of the full frame."""
    centre_px: tuple[float, float]
    """The principal point (x, y), near the middle of the frame."""
    t_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,) on the frames' clock, increasing."""
    rates_rad_s: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    """(n, 3) about the camera's axes: x to the right, y down, z ahead; right-handed, so a turn of the head to
    the right is a positive y."""

    def extended(self, t_ns: ArrayLike, rates_rad_s: ArrayLike) -> Gyroscope:
        """With further samples (m,) and (m, 3). Those that are not finite are left out, as are those not newer
        than all before; if the first one is older than the history it begins anew (a clock was set back)."""
        times = np.atleast_1d(np.asarray(t_ns, np.int64))
        rates = np.asarray(rates_rad_s, np.float64).reshape(len(times), 3)
        sound = np.isfinite(rates).all(axis=1)
        times, rates = times[sound], rates[sound]
        if len(times) and len(self.t_ns) and times[0] < self.t_ns[0]:
            return replace(self, t_ns=times[:0], rates_rad_s=rates[:0]).extended(times, rates)
        times, rates = np.concatenate([self.t_ns, times]), np.concatenate([self.rates_rad_s, rates])
        newest = np.maximum.accumulate(times)
        kept = np.concatenate([[True], times[1:] > newest[:-1]])[: len(times)]
        kept &= times > newest[-1:].max(initial=0) - SPAN_NS
        return replace(self, t_ns=times[kept], rates_rad_s=rates[kept])

    def between(self, from_ns: int, to_ns: int) -> Motion:
        """How the image of far things moved from one moment to another, in either direction.

        A camera that turns by R (from its later axes to its earlier ones) moves pixels by K R^-1 K^-1. Nearby
        things move otherwise if the camera also shifts, which a gyroscope does not feel. Not known where
        samples are missing.
        """
        if from_ns > to_ns:
            return self.between(to_ns, from_ns).inverse()
        if from_ns == to_ns:
            return Motion()
        turn = self._turn(from_ns, to_ns)
        if turn is None:
            return Motion.unknown()
        x, y = self.centre_px
        camera = np.array([[self.focal_px, 0, x], [0, self.focal_px, y], [0, 0, 1.0]])
        return Motion(camera @ turn.T @ np.linalg.inv(camera))

    def _turn(self, from_ns: int, to_ns: int) -> NDArray[np.float64] | None:
        """(3, 3): from the camera's axes at the later moment to those at the earlier one."""
        times = self.t_ns
        if not len(times) or from_ns < times[0] - MAX_GAP_NS or to_ns > times[-1] + MAX_GAP_NS:
            return None
        inside = times[(times > from_ns) & (times < to_ns)]
        around = times[max(np.searchsorted(times, from_ns, "right") - 1, 0) : np.searchsorted(times, to_ns) + 1]
        if len(around) > 1 and np.diff(around).max() > MAX_GAP_NS:
            return None
        moments = np.concatenate([[from_ns], inside, [to_ns]])
        # Seconds from the first moment: nanoseconds since 1970 do not fit into float64.
        at_s, known_s = (moments - from_ns) / 1e9, (times - from_ns) / 1e9
        rates = np.stack([np.interp(at_s, known_s, axis) for axis in self.rates_rad_s.T], axis=1)
        steps = (rates[1:] + rates[:-1]) / 2 * np.diff(at_s)[:, None]
        turn = np.eye(3)
        for step in steps:
            turn = turn @ np.asarray(cv2.Rodrigues(step)[0], np.float64)
        return turn
