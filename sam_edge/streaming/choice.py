"""Which of the three masks of a prompt is shown: the likeliest one, with the memory of what was shown before.

One point is ambiguous, so Segment Anything answers it with three masks and says how good it thinks each is.
Taking the highest number at every sample flickers: a little noise makes another one the highest. Here the mask
that resembles the one before it gets a bonus, as long as the eye rests on that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import THRESHOLD, Masks
from sam_edge.streaming.foveation import in_view


@dataclass(frozen=True)
class ChoiceConfig:
    """How much memory and size count, in units of predicted IoU; docs/measurements.md says what each gains."""

    memory: float = 1.0
    """Weight of the overlap (IoU, 0 to 1) with the mask before; 0: no memory."""
    size: float = 0.05
    """What each doubling of the area beyond `usual_share` costs: who looks at a point seldom means everything
    round it. 0: no prior."""
    usual_share: float = 0.1
    """Share of what the encoder sees, up to which a mask costs nothing."""
    reach: float = 0.01
    """How near the mask before the gaze must lie for it to count, as a share of the frame's longer side: the
    noise of an eye tracker (1 degree of the 103 that Neon's camera sees)."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("memory", 0, 100), ("size", 0, 100), ("usual_share", 1e-6, 1), ("reach", 0, 1)
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise InputError(
                    f"the choice's {name} is {getattr(self, name)}", hint=f"give {low:g} to {high:g}"
                )


@dataclass(frozen=True, eq=False)
class Choice:
    """Which mask, and why."""

    index: int
    """Of the chosen mask."""
    scores: NDArray[np.float32]
    """(k,): predicted IoU plus what memory and size add; the highest is chosen."""
    overlaps: NDArray[np.float32] | None
    """(k,): IoU with the mask before; None where it did not count."""


def choose(
    masks: Masks,
    previous: Masks | None = None,
    point_px: tuple[float, float] | None = None,
    config: ChoiceConfig = ChoiceConfig(),
) -> Choice:
    """Choose one of the masks of a prompt. All is computed at their low resolution.

    Args:
        masks: k of them, of one prompt.
        previous: the mask chosen before (k = 1), carried to the same frame; of another view it is brought into
            this one. None at the first answer of a fixation: it has no memory.
        point_px: where the eye looks, x and y in pixels of that frame. Farther than `config.reach` from
            `previous` it lands elsewhere, and that one does not count. None: it counts in any case.
        config: weights.
    """
    rows, columns = _content(masks)
    planes = masks.logits[:, :rows, :columns] > THRESHOLD
    scores = masks.predicted_iou.astype(np.float32, copy=True)
    if config.size:
        share = np.count_nonzero(planes, axis=(1, 2)) / (rows * columns)
        scores -= config.size * np.log2(np.maximum(share / config.usual_share, 1)).astype(np.float32)
    overlaps = None
    if previous is not None and config.memory:
        before = in_view(previous, masks.view).logits[0, :rows, :columns] > THRESHOLD
        if before.any() and (point_px is None or _reaches(before, masks.view, point_px, config.reach)):
            overlaps = np.array([mask_iou(plane, before) for plane in planes], np.float32)
            scores += np.float32(config.memory) * overlaps
    return Choice(int(scores.argmax()), scores, overlaps)


def _content(masks: Masks) -> tuple[int, int]:
    """Rows and columns of the logits that show the frame; the rest is padding."""
    rows, columns = masks.logits.shape[1:]
    view = masks.view
    return (
        max(1, round(rows * view.content_wh[1] / view.input_wh[1])),
        max(1, round(columns * view.content_wh[0] / view.input_wh[0])),
    )


def _reaches(mask: NDArray[np.bool_], view: View, point_px: tuple[float, float], reach: float) -> bool:
    """Whether a mask (rows, columns) of a view has a cell as near to a point as `reach`."""
    left, top, width, height = view.window_xywh
    rows, columns = mask.shape
    far = reach * max(view.frame_wh)
    across, down = columns / width, rows / height
    x, y = point_px[0] - left, point_px[1] - top
    if not (abs(x) < np.inf and abs(y) < np.inf):
        return False
    near = mask[
        max(0, int((y - far) * down)) : max(0, int((y + far) * down) + 1),
        max(0, int((x - far) * across)) : max(0, int((x + far) * across) + 1),
    ]
    return bool(near.any())
