"""Which objects a stream answers besides the gaze: a tracker's boxes, and what is followed."""

from __future__ import annotations

from collections.abc import Sequence

from sam_edge.errors import InputError
from sam_edge.streaming.answers.answerer import InForce
from sam_edge.streaming.answers.following import MAX_FOLLOWED, Kept, keep
from sam_edge.streaming.objects import TrackedBox


class Objects:
    """The newest boxes, and the followed objects. Whoever calls holds the stream's lock."""

    def __init__(self) -> None:
        self.kept: tuple[Kept, ...] = ()
        """What is followed."""
        self._boxes: tuple[TrackedBox, ...] | None = None
        self._boxes_ns: int | None = None

    def told(self, boxes: Sequence[TrackedBox], now_ns: int) -> None:
        """A tracker has told where its objects are."""
        self._boxes, self._boxes_ns = tuple(boxes), now_ns

    def take_boxes(self) -> tuple[TrackedBox, ...] | None:
        """Boxes that were not answered yet; None if there are none."""
        boxes, self._boxes = self._boxes, None
        return boxes

    def are_shown(self, now_ns: int, idle_s: float) -> bool:
        """Whether objects besides the gaze's are to be seen: followed ones, or a tracker's of a moment ago."""
        return bool(self.kept) or (self._boxes_ns is not None and now_ns - self._boxes_ns < idle_s * 1e9)

    def keep(self, object_id: int, in_force: InForce | None) -> None:
        """Follow what is masked now, also when the gaze leaves it.

        Raises:
            InputError: nothing is masked, or too many objects are followed.
        """
        if in_force is None:
            raise InputError("nothing is masked now", hint="look at something first")
        others = tuple(one for one in self.kept if one.object.object_id != object_id)
        if len(others) >= MAX_FOLLOWED:
            raise InputError(f"{len(others)} objects are followed", hint="drop one first")
        self.kept = (*others, keep(object_id, in_force))

    def drop(self, object_id: int) -> None:
        """Follow an object no longer; one that is not followed changes nothing."""
        self.kept = tuple(one for one in self.kept if one.object.object_id != object_id)

    def found(self, before: Sequence[Kept], after: Sequence[Kept | None]) -> None:
        """What has become of followed objects; what was dropped or begun meanwhile stays so."""
        now = {id(one): found for one, found in zip(before, after, strict=True)}
        kept = [now.get(id(one), one) for one in self.kept]
        self.kept = tuple(one for one in kept if one is not None)
