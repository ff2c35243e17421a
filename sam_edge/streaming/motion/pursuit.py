"""What the eye follows may move on its own: then the gaze says how, and the background does not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sam_edge.streaming.motion.motion import Motion


def pursued(
    background: Motion, before_px: tuple[float, float], after_px: tuple[float, float], *, least_px: float
) -> Motion:
    """The motion of what was looked at from one frame to another, without a saccade between.

    An eye that rests on a thing moves with it. Where it came to lie farther than `least_px` from where the
    background would have brought it, the thing moves by itself (or with the camera, which follows it), and its
    motion is the background's shifted to end at the gaze. Nearer than that the difference is the tracker's
    error, and the background's motion is the better answer.

    Args:
        background: the camera's motion between the frames.
        before_px: gaze (x, y) on the first frame, in its pixels.
        after_px: gaze on the second one.
        least_px: above what the tracker errs by; 1.5 degrees is a good value.
    """
    x, y = background.carry_point(*before_px)
    dx, dy = after_px[0] - x, after_px[1] - y
    if not least_px < math.hypot(dx, dy) < math.inf:
        return background
    shift = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]])
    return replace(background, matrix=shift @ background.matrix)
