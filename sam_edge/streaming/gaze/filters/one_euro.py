"""The last stage: less noise where the eye rests, little lag where it follows.

The 1-euro filter of Casiez, Roussel and Vogel, "1 € filter: a simple speed-based low-pass filter for noisy
input in interactive systems", CHI 2012: a first-order low-pass whose cutoff rises with the speed. Here x and y
share the cutoff, which rises with their common speed: the smoothed point is a weighted mean of the samples and
lies in their convex hull. All is in seconds, so the rate may change from sample to sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sam_edge.streaming.gaze.filters.config import GazeFilterConfig


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A smoothed point, and what the next one needs of it. The first one is the sample itself."""

    t_ns: int
    x_deg: float
    y_deg: float
    vx_deg_s: float = 0.0
    vy_deg_s: float = 0.0


def smooth(before: Smoothed, t_ns: int, x_deg: float, y_deg: float, config: GazeFilterConfig) -> Smoothed:
    """The next smoothed point.

    Args:
        before: of the sample before.
        t_ns: of this one; later.
        x_deg: across the frame, from its left edge.
        y_deg: down the frame, from its top edge.
        config: `min_cutoff_hz`, `beta` and `derivative_cutoff_hz`.
    """
    dt_s = (t_ns - before.t_ns) * 1e-9
    weight = _weight(config.derivative_cutoff_hz, dt_s)
    vx = before.vx_deg_s + weight * ((x_deg - before.x_deg) / dt_s - before.vx_deg_s)
    vy = before.vy_deg_s + weight * ((y_deg - before.y_deg) / dt_s - before.vy_deg_s)
    weight = _weight(config.min_cutoff_hz + config.beta * math.hypot(vx, vy), dt_s)
    x, y = before.x_deg, before.y_deg
    return Smoothed(t_ns, x + weight * (x_deg - x), y + weight * (y_deg - y), vx, vy)


def _weight(cutoff_hz: float, dt_s: float) -> float:
    """Of the new sample, in a first-order low-pass: 1 / (1 + tau / dt), with tau = 1 / (2 pi cutoff)."""
    turn = 2 * math.pi * cutoff_hz * dt_s
    return turn / (1 + turn) if turn < math.inf else 1.0
