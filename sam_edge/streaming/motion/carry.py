"""Masks, moved along with the camera."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.geometry import View
from sam_edge.masks import OUTSIDE, Masks
from sam_edge.streaming.motion.motion import Motion

NEAR = -4.0
"""Logits above this are carried, and those next to them: what the mask's edge, also that of lower thresholds,
is made of. All others become `OUTSIDE`."""
EXACT = 1e-9
"""A matrix this near to none moves nothing."""
Cells = NDArray[np.float32]
Matrix = NDArray[np.float64]


def carry_masks(masks: Masks, motion: Motion) -> Masks:
    """Masks of one frame on another one of the same size, to which `motion` leads.

    The low-resolution logits are moved, to fractions of their pixels. What comes in from outside the view is
    not on the mask, nor is anything if the motion puts it behind the camera. A view that is a window of the
    frame moves along by whole pixels, as far as the frame reaches. A motion that moves nothing returns `masks`
    itself.
    """
    if _moves_nothing(motion.matrix):
        return masks
    if not np.isfinite(motion.matrix).all() or np.linalg.matrix_rank(motion.matrix) < 3:
        return replace(masks, logits=np.full_like(masks.logits, OUTSIDE))
    view = carry_view(masks.view, motion)
    shape = masks.logits.shape[1:]
    matrix = _to_cells(view, shape) @ motion.matrix @ np.linalg.inv(_to_cells(masks.view, shape))
    if _moves_nothing(matrix):
        return replace(masks, view=view)
    seen_wh = _seen_cells(view, shape)
    carried = np.full_like(masks.logits, OUTSIDE)
    for into, plane in zip(carried, masks.logits, strict=True):
        _carry_plane(into, plane, matrix, seen_wh)
    return replace(masks, logits=carried, view=view)


def carry_view(view: View, motion: Motion) -> View:
    """A view whose window moves by whole pixels as its middle does, as far as the frame reaches."""
    left, top, width, height = view.window_xywh
    room = view.frame_wh[0] - width, view.frame_wh[1] - height
    middle = left + (width - 1) / 2, top + (height - 1) / 2
    moved = motion.carry_point(*middle)
    if room == (0, 0) or not np.isfinite(moved).all():
        return view
    x, y = (
        min(max(round(old + new - was), 0), most)
        for old, new, was, most in zip((left, top), moved, middle, room, strict=True)
    )
    return view if (x, y) == (left, top) else replace(view, window_xywh=(x, y, width, height))


def _to_cells(view: View, shape: tuple[int, ...]) -> Matrix:
    """(3, 3): from pixels of the frame to cells of the logits (h, w); the centres of both at whole numbers."""
    across, down = (view.scale * (shape[1], shape[0]) / view.input_wh).tolist()
    left, top = view.window_xywh[:2]
    return np.array(
        [[across, 0, (0.5 - left) * across - 0.5], [0, down, (0.5 - top) * down - 0.5], [0, 0, 1.0]]
    )


def _seen_cells(view: View, shape: tuple[int, ...]) -> tuple[float, float]:
    """How many cells across and down show the frame; the others are padding."""
    return view.content_wh[0] * shape[1] / view.input_wh[0], view.content_wh[1] * shape[0] / view.input_wh[1]


def _carry_plane(into: Cells, plane: Cells, matrix: Matrix, seen_wh: tuple[float, float]) -> None:
    """Move the logits around a mask by `matrix` (cells to cells) into a plane that is all `OUTSIDE`."""
    height, width = plane.shape
    rows, columns = min(height, int(np.ceil(seen_wh[1]))), min(width, int(np.ceil(seen_wh[0])))
    x, y, wide, tall = cv2.boundingRect((plane[:rows, :columns] > NEAR).view(np.uint8))
    if not wide:
        return
    left, top = max(x - 1, 0), max(y - 1, 0)
    right, bottom = min(x + wide + 1, columns), min(y + tall + 1, rows)
    # The outer edge of these cells, which ends where the frame does.
    edges = (left - 0.5, top - 0.5, min(right, seen_wh[0]) - 0.5, min(bottom, seen_wh[1]) - 0.5)
    outline = _outline(matrix, edges)
    if outline is None:
        return
    x0, y0 = np.maximum(np.ceil(outline.min(axis=0)), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.floor(outline.max(axis=0)) + 1, (width, height)).astype(int).tolist()
    if x0 >= x1 or y0 >= y1:
        return
    part = matrix @ np.array([[1.0, 0, left], [0, 1.0, top], [0, 0, 1.0]])
    part = np.array([[1.0, 0, -x0], [0, 1.0, -y0], [0, 0, 1.0]]) @ part
    moved = cv2.warpPerspective(
        np.ascontiguousarray(plane[top:bottom, left:right]),
        part,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    inside = np.zeros(moved.shape, np.uint8)
    # In 1/256 of a cell, since the outline is as exact as the mask.
    cv2.fillConvexPoly(inside, np.rint((outline - (x0, y0)) * 256).astype(np.int32), 1, cv2.LINE_8, 8)
    into[y0:y1, x0:x1][inside > 0] = moved[inside > 0]


def _outline(matrix: Matrix, edges: tuple[float, float, float, float]) -> NDArray[np.float64] | None:
    """(4, 2): where a rectangle's corners (left, top, right, bottom) come to lie; None if behind the camera."""
    left, top, right, bottom = edges
    corners = np.array([(left, top, 1.0), (right, top, 1.0), (right, bottom, 1.0), (left, bottom, 1.0)])
    moved = corners @ matrix.T
    if moved[:, 2].min() <= 0:
        return None
    outline: NDArray[np.float64] = moved[:, :2] / moved[:, 2:]
    return outline if np.abs(outline).max() < 1e6 else None


def _moves_nothing(matrix: Matrix) -> bool:
    return bool(matrix[2, 2]) and bool(np.abs(matrix / matrix[2, 2] - np.eye(3)).max() < EXACT)
