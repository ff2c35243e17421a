"""Has something changed besides the camera's motion?"""

from __future__ import annotations

import cv2
import numpy as np

from sam_edge.streaming.motion.flow import SmallFrame
from sam_edge.streaming.motion.motion import Motion

LEVELS = 24
"""A pixel has changed if it differs by more than so many of 255 levels: above the noise of small cameras."""


def changed_share(before: SmallFrame, after: SmallFrame, motion: Motion) -> float:
    """Which share of the pixels, 0 to 1, differs between two frames after the camera's motion is taken out.

    Args:
        before: the first frame.
        after: the second one; where it has another size, everything has changed.
        motion: from the first to the second.
    """
    if before.grey.shape != after.grey.shape:
        return 1.0
    step, offset = before.step_px, before.offset_px
    onto = np.array([[step, 0, offset], [0, step, offset], [0, 0, 1.0]])
    matrix = np.linalg.inv(onto) @ motion.matrix @ onto
    size_wh = (before.grey.shape[1], before.grey.shape[0])
    # What comes in from outside was not seen before: it is not compared.
    moved = cv2.warpPerspective(
        before.grey, matrix, size_wh, dst=after.grey.copy(), borderMode=cv2.BORDER_TRANSPARENT
    )
    different = cv2.threshold(cv2.absdiff(moved, after.grey), LEVELS, 1, cv2.THRESH_BINARY)[1]
    return float(cv2.countNonZero(different)) / different.size
