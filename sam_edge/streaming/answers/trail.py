"""Where the eye has been since it landed."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from sam_edge.streaming.gaze.filters.chain import Filtered
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.motion.pursuit import pursued

STEP_NS = 8_000_000
"""Points nearer in time than this say nothing more about where a thing went."""
MAX_GAP_NS = 50_000_000
"""So long after a sample nobody knows where the eye went."""
KEPT = 128
"""A second: masks that are older are stale."""
PURSUIT_DEG = 1.5
"""What a tracker errs by, about: the gaze has gone with a thing only if it went farther."""


@dataclass(frozen=True)
class Trail:
    """The points of one look, each on the frame that was the newest then."""

    look: int | None = None
    """Its number (`Filtered.fixation_id`)."""
    times_ns: tuple[int, ...] = ()
    points_px: tuple[tuple[float, float], ...] = ()

    def then(self, look: Filtered) -> Trail:
        """With a sample more; one of another look begins a new trail, one of none (a blink) changes nothing."""
        if look.fixation_id is None:
            return self
        t_ns, point = look.sample.t_ns, (look.x_px, look.y_px)
        if look.fixation_id != self.look:
            return Trail(look.fixation_id, (t_ns,), (point,))
        if t_ns - self.times_ns[-1] < STEP_NS:
            return self
        return Trail(self.look, (*self.times_ns[1 - KEPT :], t_ns), (*self.points_px[1 - KEPT :], point))

    def at(self, t_ns: int) -> tuple[float, float] | None:
        """Where the eye looked at a moment; None before it landed, and where no sample says so."""
        after = bisect_right(self.times_ns, t_ns)
        if not after or t_ns - self.times_ns[after - 1] > MAX_GAP_NS:
            return None
        return self.points_px[after - 1]

    def carries(
        self, background: Motion, from_ns: int, to_ns: int, px_per_degree: float, *, look: int | None
    ) -> Motion:
        """The motion of what a look rests on from one moment to another: the camera's, or its own if the eye
        followed it.

        Args:
            background: the camera's motion between the two moments.
            from_ns: the earlier moment.
            to_ns: the later one.
            px_per_degree: pixels of the frame that make a degree.
            look: whose thing it is; of another look than this trail's nothing is known but the background.
        """
        before, after = self.at(from_ns), self.at(to_ns)
        if look is None or look != self.look or before is None or after is None:
            return background
        return pursued(background, before, after, least_px=PURSUIT_DEG * px_per_degree)
