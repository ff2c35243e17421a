"""What a stream knows at one moment: the newest frame, the newest embedding, and how the camera moved."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace

from sam_edge.embedding import Embedding
from sam_edge.streaming.motion.chain import MotionChain
from sam_edge.streaming.motion.change import changed_share
from sam_edge.streaming.motion.flow import SmallFrame, small_frame
from sam_edge.streaming.motion.imu import Gyroscope
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.sources.source import Frame

HISTORY = 64
"""So many frames back (two seconds) a sample can be matched."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A snapshot that other threads may keep: everything in it is a value."""

    frame: Frame | None = None
    """The newest one."""
    small: SmallFrame | None = None
    """Its small grey image."""
    captures_ns: tuple[int, ...] = ()
    """Capture times of the last frames, the oldest first."""
    flow_px_s: tuple[float, float] = (0.0, 0.0)
    """How fast the background moves over the middle of the frame, across and down, in pixels a second."""
    chain: MotionChain = field(default_factory=MotionChain)
    """How the camera moved from frame to frame."""
    embedding: Embedding | None = None
    """The newest one."""
    embedding_small: SmallFrame | None = None
    """The small grey image of its frame."""
    encode_ms: float | None = None
    """How long it took."""

    @property
    def frame_wh(self) -> tuple[int, int] | None:
        """Width and height of the newest frame in pixels."""
        return None if self.frame is None else (self.frame.image.shape[1], self.frame.image.shape[0])

    def seen(self, frame: Frame, gyroscope: Gyroscope | None = None) -> Scene:
        """With a newer frame. One of another size, or one whose time went back, begins a new history: nothing
        older can be carried to it.

        Args:
            frame: the newest one.
            gyroscope: how the camera turned, where that is known.
        """
        small = small_frame(frame.image, frame.capture_ns)
        if self.frame is not None and (
            self.frame.image.shape != frame.image.shape or frame.capture_ns < self.frame.capture_ns
        ):
            return Scene(frame, small, (frame.capture_ns,), chain=MotionChain().extended(small))
        prior = None
        if gyroscope is not None and self.frame is not None:
            prior = gyroscope.between(self.frame.capture_ns, frame.capture_ns)
        chain = self.chain.extended(small, prior)
        return replace(
            self,
            frame=frame,
            small=small,
            captures_ns=(*self.captures_ns[1 - HISTORY :], frame.capture_ns),
            flow_px_s=_flow(chain, self.frame, frame),
            chain=chain,
        )

    def encoded(self, embedding: Embedding, at: Scene, encode_ms: float) -> Scene:
        """With a newer embedding, of the frame that was the newest in `at`; one of frames of another size than
        the newest is of no use."""
        if embedding.view.frame_wh != self.frame_wh:
            return self
        return replace(self, embedding=embedding, embedding_small=at.small, encode_ms=encode_ms)

    def with_embedding_of(self, other: Scene) -> Scene:
        """This one, with the embedding of another one if that is of frames of this size."""
        if other.embedding is None or other.embedding.view.frame_wh != self.frame_wh:
            return self
        return replace(
            self,
            embedding=other.embedding,
            embedding_small=other.embedding_small,
            encode_ms=other.encode_ms,
        )

    def since_embedding(self) -> tuple[float, float]:
        """How far the background moved since the embedding's frame, as a share of the frame's longer side, and
        what share of the pixels changed besides; infinite and 1 where that is not known."""
        if self.embedding is None or self.frame is None or self.embedding_small is None or self.small is None:
            return math.inf, 1.0
        motion = self.motion_to_now(self.embedding.capture_ns)
        if not motion.is_known:
            return math.inf, 1.0
        moved = _farthest_px(motion, self.embedding.view.frame_wh) / max(self.embedding.view.frame_wh)
        return moved, changed_share(self.embedding_small, self.small, motion)

    def frame_at(self, t_ns: int) -> int | None:
        """Capture time of the frame that was the newest at `t_ns`; None where it is too long ago, or nothing
        was seen yet."""
        at = bisect_right(self.captures_ns, t_ns) - 1
        return self.captures_ns[at] if at >= 0 else None

    def motion_to_embedding(self, capture_ns: int) -> Motion:
        """From a frame to that of the embedding."""
        assert self.embedding is not None, "asked only where there is one"
        return self.chain.between(capture_ns, self.embedding.capture_ns)

    def motion_to_now(self, capture_ns: int) -> Motion:
        """From a frame to the newest one."""
        assert self.frame is not None, "asked only where there is one"
        return self.chain.between(capture_ns, self.frame.capture_ns)


def _farthest_px(motion: Motion, frame_wh: tuple[int, int]) -> float:
    """How far the frame's corner that moved most has moved."""
    corners = [(x, y) for x in (0, frame_wh[0]) for y in (0, frame_wh[1])]
    return max(math.dist(corner, motion.carry_point(*corner)) for corner in corners)


def _flow(chain: MotionChain, before: Frame | None, after: Frame) -> tuple[float, float]:
    if before is None or after.capture_ns <= before.capture_ns:
        return 0.0, 0.0
    motion = chain.between(before.capture_ns, after.capture_ns)
    if not motion.is_known:
        return 0.0, 0.0
    middle = (after.image.shape[1] / 2, after.image.shape[0] / 2)
    x, y = motion.carry_point(*middle)
    seconds = (after.capture_ns - before.capture_ns) / 1e9
    return (x - middle[0]) / seconds, (y - middle[1]) / seconds
