"""Masks and prompts, moved along with the camera."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.masks import OUTSIDE, Masks
from sam_edge.streaming.motion.motion import Motion


def carry_masks(masks: Masks, motion: Motion) -> Masks:
    """Masks of one frame on another one, to which `motion` leads; frame and view of both have the same sizes.

    The low-resolution logits are warped (bilinear, so to fractions of a pixel). What comes in from outside the
    view is not on the mask.
    """
    view = masks.view
    stride = view.input_wh[0] / masks.logits.shape[2]
    across, down = (view.scale / stride).tolist()
    left, top = view.window_xywh[:2]
    # From pixels of the frame to cells of the logits, whose centres are at a half.
    to_cells = np.array([[across, 0, -left * across - 0.5], [0, down, -top * down - 0.5], [0, 0, 1.0]])
    matrix = to_cells @ motion.matrix @ np.linalg.inv(to_cells)
    logits: NDArray[np.float32] = np.stack([_warp(plane, matrix) for plane in masks.logits])
    return replace(masks, logits=logits)


def _warp(plane: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    height, width = plane.shape
    warped = cv2.warpPerspective(
        plane,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE,
    )
    return warped.astype(np.float32, copy=False)
