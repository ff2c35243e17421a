"""Flicker: how much a mask changes from one answer to the next although the eye rests on one thing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import THRESHOLD

JUMP = 0.5
"""A change above this is seen as another mask, not as the same one with another edge."""


def change(before: NDArray[np.float32], now: NDArray[np.float32]) -> float:
    """1 - IoU of two masks, given as logits (h, w) of one view: 0 the same, 1 nothing in common."""
    return 1 - mask_iou(before > THRESHOLD, now > THRESHOLD)


@dataclass(frozen=True)
class Flicker:
    """The mean change of masks that follow one another in a fixation.

    Each answer is compared with the one before it, carried to the new frame along with the camera. That is
    1 - temporal consistency (Liu, Shen, Yu and Wang, "Efficient semantic video segmentation with per-frame
    inference", ECCV 2020), with the camera's motion in the place of dense flow. The first answer of a
    fixation is compared with nothing: a mask has to change when the eye goes on.
    """

    pairs: int = 0
    """Answers that were compared."""
    total: float = 0.0
    """Sum of their changes."""
    jumps: int = 0
    """Changes above JUMP."""

    def then(self, changed: float) -> Flicker:
        """One more answer, which changed by so much (see `change`)."""
        return replace(
            self, pairs=self.pairs + 1, total=self.total + changed, jumps=self.jumps + (changed > JUMP)
        )

    @property
    def mean(self) -> float:
        """Mean change, 0 to 1; NaN before the first."""
        return self.total / self.pairs if self.pairs else float("nan")

    @property
    def jump_share(self) -> float:
        """Share of the changes above JUMP, 0 to 1; NaN before the first."""
        return self.jumps / self.pairs if self.pairs else float("nan")
