"""From another clock to this machine's monotonic one.

    time here = time there + offset

All times are whole nanoseconds; `time.monotonic_ns` is the clock of a live stream. An estimator is a value:
`after` gives the one that has seen one message more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

ECHOES = 31
"""Of so many the median counts."""
SPAN_NS = 1_000_000_000
SPANS = 10
"""The smallest delay of the last so many spans counts: a drift of 50 ppm moves it by half a millisecond."""
JUMP_NS = 300_000_000
"""A time that is farther off than this is a mistake, or the other clock was set."""
SETTLED_NS = 200_000_000
"""For so long all times must be off alike before the other clock counts as set."""
ALIKE_NS = 50_000_000


@dataclass(frozen=True)
class EchoOffset:
    """The offset to a clock that can be asked: the median of (middle of asking and answer) - (its time).

    Cristian, Probabilistic clock synchronization (1989), with the median instead of the shortest round trip, as
    Pupil Labs' Time Echo does: clocks that count milliseconds make all round trips look alike.
    """

    offsets_ns: tuple[int, ...] = ()

    @property
    def offset_ns(self) -> int | None:
        """To add to a time of the other clock; None before the first echo."""
        return round(median(self.offsets_ns)) if self.offsets_ns else None

    def after(self, sent_ns: int, there_ns: int, received_ns: int) -> EchoOffset:
        """With one echo more: asked and answered on this clock, `there_ns` on the other one."""
        offset_ns = (sent_ns + received_ns) // 2 - there_ns
        return EchoOffset((*self.offsets_ns[1 - ECHOES :], offset_ns))


@dataclass(frozen=True)
class DelayOffset:
    """The offset to a clock that only stamps what it sends: the smallest (time received) - (time stamped).

    What is sent can arrive late but never early, so the smallest difference is the offset and the shortest
    delay. That delay cannot be told from the offset: ages are too small by it. Single times far off change
    nothing; where all are off alike for SETTLED_NS, the other clock was set, and the estimate begins again.
    """

    spans: tuple[tuple[int, int], ...] = ()
    """(start on this clock, smallest difference) of each span, at most SPANS."""
    odd: tuple[int, int, int] | None = None
    """(first seen on this clock, smallest and largest difference) of times that are off, since the last good
    one."""

    @property
    def offset_ns(self) -> int | None:
        """To add to a time of the other clock; None before the first message."""
        return min(smallest for _, smallest in self.spans) if self.spans else None

    def after(self, there_ns: int, received_ns: int) -> DelayOffset:
        """With one message more: stamped on the other clock, received on this one."""
        difference = received_ns - there_ns
        offset_ns = self.offset_ns
        if offset_ns is None:
            return DelayOffset(((received_ns, difference),))
        if abs(difference - offset_ns) > JUMP_NS:
            return self._odd_one(difference, received_ns)
        start_ns, smallest = self.spans[-1]
        if received_ns - start_ns < SPAN_NS:
            if difference >= smallest and self.odd is None:
                return self
            spans = (*self.spans[:-1], (start_ns, min(smallest, difference)))
        else:
            spans = (*self.spans[1 - SPANS :], (received_ns, difference))
        return DelayOffset(spans)

    def _odd_one(self, difference: int, received_ns: int) -> DelayOffset:
        if self.odd is None:
            return replace(self, odd=(received_ns, difference, difference))
        since_ns, smallest, largest = self.odd
        smallest, largest = min(smallest, difference), max(largest, difference)
        if largest - smallest > ALIKE_NS:
            # A burst after a stall: the differences fall from message to message.
            return replace(self, odd=(received_ns, difference, difference))
        if received_ns - since_ns >= SETTLED_NS:
            return DelayOffset(((received_ns, smallest),))
        return replace(self, odd=(since_ns, smallest, largest))
