"""Prompts from an object tracker: boxes or points with ids, several objects on one embedding.

A tracker's boxes lie on the frame it saw. They are carried to the frame that the embedding was made from, and
what cannot be decoded there is dropped and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.motion.motion import Motion

MAX_OBJECTS = 8
"""Decoded on one embedding: as many as go through a decoder in one run."""
LEAST_PX = 1.0
"""A box of less, across or down, shows nothing."""


@dataclass(frozen=True)
class TrackedBox:
    """What a tracker says of one object. Anything may come over a network: `admit` looks at it."""

    object_id: int
    t_ns: int
    """Capture time of the frame the tracker saw."""
    box_px: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom in pixels of the frame."""
    point_px: tuple[float, float] | None = None
    """A point on the object, instead of a box or in it."""
    confidence: float = 1.0
    """0 to 1."""


@dataclass(frozen=True)
class Admitted:
    """What can be decoded on a view, and how much of the rest there was."""

    boxes: tuple[TrackedBox, ...]
    """On the view's frame, inside the view; the most confident ones, in the order they came."""
    clipped: int = 0
    """Of `boxes`, how many reached outside the view and were cut."""
    outside: int = 0
    """Dropped: they have left the view."""
    invalid: int = 0
    """Dropped: no finite numbers, an empty box, neither box nor point, an id that came before."""
    unsure: int = 0
    """Dropped: less confident than asked for."""
    surplus: int = 0
    """Dropped: more than may be decoded."""

    @property
    def dropped(self) -> int:
        """All that are not decoded."""
        return self.outside + self.invalid + self.unsure + self.surplus


def admit(
    boxes: Sequence[TrackedBox],
    view: View,
    motion: Motion,
    *,
    min_confidence: float = 0.0,
    max_objects: int = MAX_OBJECTS,
) -> Admitted:
    """Which boxes can be decoded on a view.

    Args:
        boxes: at one time, on the tracker's frame.
        view: of the embedding.
        motion: from the tracker's frame to the embedding's.
        min_confidence: what a box needs.
        max_objects: more are not decoded; the least confident ones are left out.
    """
    dropped = {"outside": 0, "invalid": 0, "unsure": 0}
    kept: dict[int, _Placed] = {}
    for box in boxes:
        try:
            placed = _place(box, view, motion, min_confidence)
        except (TypeError, ValueError):
            placed = "invalid"  # of two numbers, or of words
        if isinstance(placed, str):
            dropped[placed] += 1
        elif box.object_id in kept:
            dropped["invalid"] += 1
        else:
            kept[box.object_id] = placed
    # sorted() is stable: of equally confident ones the first stay.
    most_sure = sorted(kept, key=lambda key: -kept[key].box.confidence)[: max(0, max_objects)]
    chosen = [placed for key, placed in kept.items() if key in most_sure]
    return Admitted(
        tuple(placed.box for placed in chosen),
        clipped=sum(placed.is_cut for placed in chosen),
        surplus=len(kept) - len(chosen),
        **dropped,
    )


def decode_objects(segmenter: Segmenter, embedding: Embedding, boxes: Sequence[TrackedBox]) -> list[Masks]:
    """The masks of each box (k = 1 or 3), in one batched decode, in the order of the boxes.

    Args:
        segmenter: the model.
        embedding: of the frame the boxes lie on.
        boxes: as `admit` gives them; MAX_OBJECTS at most.

    Raises:
        InputError: more boxes, or one that a model cannot answer on this view.
    """
    if len(boxes) > MAX_OBJECTS:
        raise InputError(f"{len(boxes)} objects at once", hint=f"give {MAX_OBJECTS} at most (see admit)")
    return segmenter.decode_batch(embedding, [_prompt(box) for box in boxes]) if boxes else []


def _prompt(box: TrackedBox) -> Prompt:
    points = [] if box.point_px is None else [box.point_px]
    return Prompt.points(points, box=box.box_px)


@dataclass(frozen=True)
class _Placed:
    """A box on the embedding's frame."""

    box: TrackedBox
    is_cut: bool


def _place(
    box: TrackedBox, view: View, motion: Motion, min_confidence: float
) -> _Placed | Literal["outside", "invalid", "unsure"]:
    """A box on a view, or why there is none."""
    numbers = (*(box.box_px or ()), *(box.point_px or ()))
    if not numbers or not all(map(math.isfinite, (*numbers, box.confidence))):
        return "invalid"
    if box.confidence < min_confidence:
        return "unsure"
    left, top, width, height = view.window_xywh
    point = None if box.point_px is None else motion.carry_point(*box.point_px)
    if point is not None and not (left <= point[0] <= left + width and top <= point[1] <= top + height):
        point = None
    if box.box_px is None:
        return "outside" if point is None else _Placed(replace(box, point_px=point), False)
    if box.box_px[0] >= box.box_px[2] or box.box_px[1] >= box.box_px[3]:
        return "invalid"
    x0, y0, x1, y1 = motion.carry_box(box.box_px)
    cut = (max(x0, left), max(y0, top), min(x1, left + width), min(y1, top + height))
    # Behind the camera a box is at infinity, and this is NaN.
    if not (cut[2] - cut[0] >= LEAST_PX and cut[3] - cut[1] >= LEAST_PX):
        return "outside"
    return _Placed(replace(box, box_px=cut, point_px=point), cut != (x0, y0, x1, y1))
