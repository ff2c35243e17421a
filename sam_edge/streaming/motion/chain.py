"""How the camera moved between any two of the last frames."""

from __future__ import annotations

from dataclasses import dataclass

from sam_edge.streaming.motion.flow import SmallFrame, motion_between
from sam_edge.streaming.motion.motion import Motion

LENGTH = 64
"""How many frames are remembered: two seconds of most cameras."""


@dataclass(frozen=True, eq=False)
class Link:
    """A frame, and how the camera came to it from an earlier one."""

    capture_ns: int
    before_ns: int
    """The earlier frame; its own time in the first one."""
    motion: Motion
    """From the earlier frame to this one."""


@dataclass(frozen=True, eq=False)
class MotionChain:
    """The motions of the last frames. A value: `extended` makes a new one, and any thread may ask any of them.

    Motions of neighbours are composed. That errs by half a pixel of 1280 after half a second (`python -m
    sam_edge.benchmarks.speed.streaming.motion`), so frames further apart are not compared again.
    """

    links: tuple[Link, ...] = ()
    """Oldest first, at most `length`."""
    newest: SmallFrame | None = None
    """What the next frame is compared with first."""
    trusted: SmallFrame | None = None
    """The last frame whose motion is known: it is compared with too where the newest one cannot be, as a
    blurred or broken frame cannot."""
    length: int = LENGTH

    def extended(self, frame: SmallFrame, prior: Motion | None = None) -> MotionChain:
        """The chain with one more frame.

        A frame as old as the newest changes nothing. An older one, or one of another size, begins a new chain.

        Args:
            frame: the newest frame.
            prior: the motion from the frame before to this one by other means (`Gyroscope.between`): where to
                search, and the answer if nothing can be seen.
        """
        last = self.newest
        if last is None or frame.frame_wh != last.frame_wh or frame.capture_ns < last.capture_ns:
            start = Link(frame.capture_ns, frame.capture_ns, Motion())
            return MotionChain((start,), frame, frame, self.length)
        if frame.capture_ns == last.capture_ns:
            return self
        link = self._link(last, frame, prior)
        links = (*self.links, link)[-self.length :]
        trusted = frame if link.motion.is_known else self.trusted
        return MotionChain(links, frame, trusted, self.length)

    def between(self, from_ns: int, to_ns: int) -> Motion:
        """How the camera moved from one frame to another, named by their capture times, in either direction.

        Not known if a frame is not in the chain, or the way between them is not known somewhere.
        """
        if from_ns > to_ns:
            return self.between(to_ns, from_ns).inverse()
        by_time = {link.capture_ns: link for link in self.links}
        motion = Motion()
        at_ns = to_ns
        while at_ns > from_ns and (link := by_time.get(at_ns)) is not None and link.before_ns < at_ns:
            motion = link.motion.then(motion)
            at_ns = link.before_ns
        return motion if at_ns == from_ns and from_ns in by_time else Motion.unknown()

    def _link(self, last: SmallFrame, frame: SmallFrame, prior: Motion | None) -> Link:
        motion = motion_between(last, frame, prior)
        if motion.is_known:
            return Link(frame.capture_ns, last.capture_ns, motion)
        if self.trusted is not None and self.trusted is not last:
            bridge = motion_between(self.trusted, frame)
            if bridge.is_known:
                return Link(frame.capture_ns, self.trusted.capture_ns, bridge)
        if prior is not None and prior.is_known:
            return Link(frame.capture_ns, last.capture_ns, prior)
        return Link(frame.capture_ns, last.capture_ns, motion)
