"""What a user points at: points, a box, a previous mask, and which of them a model can answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import View

FOREGROUND, BACKGROUND = 1, 0
BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = 2, 3
NOT_A_POINT = -1
"""SAM's own padding token: it takes part in attention, as it did in training."""
EMPTY_SLOT = -2
"""A slot of a static graph that holds nothing: masked out exactly."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """Points, a box and a previous mask, all optional, in pixels of the camera frame.

    Made by `Prompt.points` and `Prompt.box`, which check and copy what they are given.

    What lies outside the view (the frame, or the window of it that was encoded) follows one rule everywhere:
    a point outside is refused, as is a box that lies wholly outside; a box that reaches outside is cut to
    the view. Refused too is a prompt that shows nothing: empty, or of background points alone. The edges at
    x = width and y = height count as inside.
    """

    points_px: NDArray[np.float64]
    """(n, 2): x, y."""
    labels: NDArray[np.int64]
    """(n,): 1 is on the object, 0 is not."""
    box_px: NDArray[np.float64] | None = None
    """(4,): x0, y0, x1, y1 with x0 < x1 and y0 < y1."""
    mask_logits: NDArray[np.float32] | None = None
    """(h, w): low-resolution logits of an earlier answer on the same view."""

    @classmethod
    def points(
        cls,
        points: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        box: ArrayLike | None = None,
        mask_logits: ArrayLike | None = None,
    ) -> Prompt:
        """A prompt of points (n, 2) in frame pixels; `labels` (n,) default to 1, on the object.

        Raises:
            InputError: wrong shapes, values that are not finite numbers, labels other than 0 and 1.
        """
        xy = _finite(points, "points")
        if xy.size == 0:
            xy = xy.reshape(0, 2)
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise InputError(f"points have shape {xy.shape}", hint="give (n, 2), x and y of each point")
        marks = np.ones(len(xy)) if labels is None else _finite(labels, "labels")
        if marks.shape != (len(xy),):
            raise InputError(f"labels have shape {marks.shape}", hint=f"give one a point, ({len(xy)},)")
        if not np.isin(marks, (FOREGROUND, BACKGROUND)).all():
            raise InputError("a label is neither 1 (on the object) nor 0 (not on it)")
        return cls(xy, marks.astype(np.int64), _box(box), _mask(mask_logits))

    @classmethod
    def box(cls, box: ArrayLike, *, mask_logits: ArrayLike | None = None) -> Prompt:
        """A prompt of one box (4,), x0, y0, x1, y1 in frame pixels."""
        return cls.points(np.empty((0, 2)), box=box, mask_logits=mask_logits)

    @property
    def tokens(self) -> int:
        """How many of a decoder's slots the prompt fills: its points, and a box's corners or a padding."""
        if self.box_px is not None:
            return len(self.labels) + 2
        return len(self.labels) + 1 if len(self.labels) else 0

    def check_shows(self) -> None:
        """Raise InputError if nothing in the prompt is on the object."""
        if self.box_px is not None or self.mask_logits is not None:
            return
        if not len(self.labels):
            raise InputError("the prompt is empty", hint="give a point, a box or a mask")
        if FOREGROUND not in self.labels.tolist():
            raise InputError(
                "every point says where the object is not", hint="give one that is on it, or a box"
            )

    def check_inside(self, view: View) -> None:
        """Raise InputError if a model cannot answer this prompt on a view, by the rule of this class."""
        self.check_shows()
        # Plain numbers: an answer waits for this, and numpy takes longer for so few.
        left, top, width, height = view.window_xywh
        for x, y in self.points_px.tolist():
            if not (0 <= x - left <= width and 0 <= y - top <= height):
                raise InputError(f"point ({x:g}, {y:g}) lies outside {_place(view)}")
        if self.box_px is not None:
            x0, y0, x1, y1 = self.box_px.tolist()
            if x1 <= left or y1 <= top or x0 >= left + width or y0 >= top + height:
                raise InputError(f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) lies outside {_place(view)}")

    def cut_box(self, view: View) -> tuple[float, float, float, float] | None:
        """x0, y0, x1, y1 in frame pixels of the box as a model sees it on a view; None without a box."""
        if self.box_px is None:
            return None
        left, top, width, height = view.window_xywh
        x0, y0, x1, y1 = self.box_px.tolist()
        return max(x0, left), max(y0, top), min(x1, left + width), min(y1, top + height)

    def slots(self, view: View, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fill the static slots of a decoder: `point_coords` (1, count, 2), `point_labels` (1, count).

        The order is the reference's: points, then the corners of the box as `cut_box` gives them; points
        without a box are followed by one "not a point".

        Raises:
            InputError: more points than fit.
        """
        xy = self.points_px.tolist()
        labels = self.labels.tolist()
        if (box := self.cut_box(view)) is not None:
            xy += [box[:2], box[2:]]
            labels += [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
        elif labels:
            labels.append(NOT_A_POINT)
        if self.tokens > count:
            raise InputError(
                f"the prompt has {len(self.labels)} points{' and a box' * (self.box_px is not None)}, "
                f"this model takes {count - 2} points and a box at most",
                hint="give fewer, or export the model with --max-points",
            )
        # "Not a point" and empty slots lie at 0, 0.
        coords = [*view.few_to_model(xy), *[(0.0, 0.0)] * (count - len(xy))]
        labels += [EMPTY_SLOT] * (count - len(labels))
        return np.array([coords], np.float32), np.array([labels], np.float32)


def _place(view: View) -> str:
    """Where prompts of a view have to lie."""
    left, top, width, height = view.window_xywh
    if (width, height) != view.frame_wh:
        return f"the window that was encoded, {width} x {height} pixels at ({left}, {top})"
    return f"the image, which is {width} x {height} pixels"


def _finite(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        if np.iscomplexobj(values):
            raise TypeError("complex numbers")
        # A copy: a prompt may outlive the caller's array, on another thread.
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are not an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise InputError(f"NaN or infinity in {name}", hint="give finite numbers")
    array.setflags(write=False)
    return array


def _box(box: ArrayLike | None) -> NDArray[np.float64] | None:
    if box is None:
        return None
    corners = _finite(box, "box")
    if corners.size != 4:
        raise InputError(f"box has shape {corners.shape}", hint="give (4,), x0, y0, x1, y1")
    corners = corners.reshape(4)
    if not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise InputError(
            f"box {tuple(corners.tolist())} is empty", hint="give x0, y0, x1, y1 with x0 < x1 and y0 < y1"
        )
    return corners


def _mask(mask_logits: ArrayLike | None) -> NDArray[np.float32] | None:
    if mask_logits is None:
        return None
    logits = _finite(mask_logits, "mask logits")
    if logits.ndim == 3 and logits.shape[0] == 1:
        logits = logits[0]
    if logits.ndim != 2:
        raise InputError(f"mask logits have shape {logits.shape}", hint="give (h, w) or (1, h, w)")
    return logits.astype(np.float32)
