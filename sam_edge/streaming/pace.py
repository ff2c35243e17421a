"""When the moments of a recording come, if it is played as if it happened now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """From the clock of a recording to this machine's monotonic clock. Frames and gaze of one run share it."""

    zero_ns: int
    """The moment of the recording that comes at the start, on the clock of the recording."""
    start_ns: int
    """When it comes, on this machine's monotonic clock."""
    speed: float = 1.0
    """Seconds of the recording in a second, over 0."""

    def due_ns(self, t_ns: int) -> int:
        """When a moment of the recording comes, on this machine's monotonic clock."""
        since_ns = t_ns - self.zero_ns
        return self.start_ns + (since_ns if self.speed == 1 else round(since_ns / self.speed))
