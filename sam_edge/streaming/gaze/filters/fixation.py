"""The third stage: does the eye rest or follow? Identification by dispersion threshold (I-DT), as samples come.

After Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking protocols", ETRA 2000: samples
are a fixation where those of a minimal duration lie within a dispersion, the range of x plus the range of y.
Theirs looks ahead for that duration; here a sample is judged by the ones before it, so a fixation is known when
it has lasted so long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sam_edge.streaming.gaze.filters.config import GazeFilterConfig

LookPhase = Literal["settling", "fixation", "pursuit"]
"""`settling`: too short to say. `fixation`: the eye rests on a point of the frame. `pursuit`: it follows
something that moves there, because it moves or because the head turns."""
BUCKETS = 16
"""The duration is cut into so many parts, of which the ranges are kept: a fast tracker costs no more."""
Range = tuple[int, float, float, float, float]
"""First t_ns, least and greatest x_deg, least and greatest y_deg."""


@dataclass(frozen=True, slots=True)
class DispersionState:
    """Where the eye has been since it landed, as far as that matters."""

    ranges: tuple[Range, ...] = ()
    """The newest last; they reach back for the duration and one part of it."""


def disperse(
    state: DispersionState, t_ns: int, x_deg: float, y_deg: float, config: GazeFilterConfig
) -> tuple[DispersionState, LookPhase]:
    """Tell what the eye does since it landed.

    Args:
        state: from the sample before; `DispersionState()` at the first one after a saccade.
        t_ns: of the sample, later than the one before.
        x_deg: across the frame, from its left edge.
        y_deg: down the frame, from its top edge.
        config: `dispersion_deg` and `fixation_ms`.
    """
    duration_ns = config.fixation_ms * 1e6
    ranges = state.ranges
    if ranges and t_ns - ranges[-1][0] < duration_ns / BUCKETS:
        first_ns, left, right, top, bottom = ranges[-1]
        newest = (first_ns, min(left, x_deg), max(right, x_deg), min(top, y_deg), max(bottom, y_deg))
        ranges = (*ranges[:-1], newest)
    else:
        ranges = (*ranges, (t_ns, x_deg, x_deg, y_deg, y_deg))
    start = 0
    while start + 1 < len(ranges) and t_ns - ranges[start + 1][0] >= duration_ns:
        start += 1
    ranges = ranges[start:]
    if t_ns - ranges[0][0] < duration_ns:
        return DispersionState(ranges), "settling"
    width = max([one[2] for one in ranges]) - min([one[1] for one in ranges])
    height = max([one[4] for one in ranges]) - min([one[3] for one in ranges])
    return DispersionState(ranges), "fixation" if width + height <= config.dispersion_deg else "pursuit"
