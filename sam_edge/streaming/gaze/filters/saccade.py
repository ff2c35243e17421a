"""The second stage: is the eye in a saccade? Identification by velocity threshold (I-VT), as samples come.

After Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking protocols", ETRA 2000. Theirs
takes the velocity between neighbours; at 200 Hz, 0.2 degrees of noise make 40 degrees/s of that. Here it is the
slope of a straight line fitted to the samples of a short time (a Savitzky-Golay filter of order 1, taken at the
end of its window), which is the same where only two samples fall into that time. Two things make up for the
delay of the window: neighbours that are farther apart than noise puts them begin a saccade at once, and during
a saccade the window is shorter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from sam_edge.streaming.gaze.filters.config import GazeFilterConfig

MAX_POINTS = 32
"""So many samples are fitted at most, however fast they come."""


class Point(NamedTuple):
    """Where an eye looks; a plain tuple, as a stream makes many."""

    t_ns: int
    x_deg: float
    y_deg: float


@dataclass(frozen=True, slots=True)
class VelocityState:
    """Samples that the velocity is fitted to."""

    points: tuple[Point, ...] = ()
    """The newest last; times rise."""
    in_saccade: bool = False


@dataclass(frozen=True, slots=True)
class Movement:
    """How the eye moves at a sample."""

    speed_deg_s: float = 0.0
    """0 where there is nothing to compare with."""
    in_saccade: bool = False
    jumped: bool = False
    """The samples before are so long ago that a saccade may have come and gone unseen."""


def move(state: VelocityState, point: Point, config: GazeFilterConfig) -> tuple[VelocityState, Movement]:
    """Tell whether the eye is in a saccade at a sample.

    Args:
        state: from the good sample before; `VelocityState()` where there is none.
        point: the sample, later than those of the state.
        config: `saccade_deg_per_s`, the windows, `jump_deg`.
    """
    if not state.points:
        return VelocityState((point,)), Movement()
    t_ns, x, y = point
    last_ns, last_x, last_y = state.points[-1]
    if t_ns - last_ns > config.velocity_window_ms * 1e6:
        # Longer than most saccades: whatever happened is over.
        speed = math.hypot(x - last_x, y - last_y) / (t_ns - last_ns) * 1e9
        return VelocityState((point,)), Movement(speed, jumped=True)
    window_ms = config.landing_window_ms if state.in_saccade else config.velocity_window_ms
    points = _window((*state.points, point), t_ns - window_ms * 1e6)
    speed = _slope(points)
    in_saccade = speed > config.saccade_deg_per_s
    if not in_saccade and not state.in_saccade:
        distance = math.hypot(x - last_x, y - last_y)
        in_saccade = distance > config.jump_deg and distance * 1e9 > config.saccade_deg_per_s * (t_ns - last_ns)
    return VelocityState(points, in_saccade), Movement(speed, in_saccade)


def _window(points: tuple[Point, ...], since_ns: float) -> tuple[Point, ...]:
    """The newest points, not before a time, but at least two."""
    start = max(0, len(points) - MAX_POINTS)
    last = len(points) - 2
    # Clocks of eye trackers jitter by some microseconds, which must not decide how many there are.
    while start < last and points[start][0] < since_ns - 100_000:
        start += 1
    return points[start:]


def _slope(points: tuple[Point, ...]) -> float:
    """Degrees a second of the straight line that fits best, by least squares."""
    count = len(points)
    origin = points[-1][0]
    sum_t = sum_x = sum_y = sum_tt = sum_tx = sum_ty = 0.0
    for t_ns, x, y in points:
        t = (t_ns - origin) * 1e-9
        sum_t += t
        sum_x += x
        sum_y += y
        sum_tt += t * t
        sum_tx += t * x
        sum_ty += t * y
    spread = count * sum_tt - sum_t * sum_t
    if not spread > 0:
        return 0.0
    return math.hypot(count * sum_tx - sum_t * sum_x, count * sum_ty - sum_t * sum_y) / spread
