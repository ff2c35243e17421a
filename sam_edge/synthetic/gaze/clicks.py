"""Simulated clicks on an object: the first one, and corrections of an answer.

The protocol of Segment Anything (section 7.1, appendix D.1) and of RITM's interactive evaluation: first the
pixel of the object that is farthest from its edge, then the same in the region where the answer is wrong.
Masks are (H, W) bool; points are x, y in pixels, as prompts take them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.prompt import BACKGROUND, FOREGROUND


def centre_click(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The pixel of a mask that is farthest from its edge; the image's border counts as edge."""
    x, y, _ = _innermost(mask)
    return float(x), float(y)


def random_click(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    """A pixel of a mask that is not empty, each as likely as any other."""
    row, column = divmod(int(rng.choice(np.flatnonzero(mask))), mask.shape[1])
    return float(column), float(row)


def correcting_click(
    answer: NDArray[np.bool_], truth: NDArray[np.bool_], clicked: NDArray[np.bool_] | None = None
) -> tuple[float, float, int]:
    """The next click on an answer: x, y, and 1 for a pixel that it missed, 0 for one that it has too much.

    It is the pixel farthest from the edge of the missed or of the surplus region, whichever is deeper, and
    never one of `clicked` (H, W). A perfect answer gets a click in the middle of the truth.
    """
    free = np.ones_like(truth) if clicked is None else ~clicked
    missed, surplus = _innermost(truth & ~answer, free), _innermost(answer & ~truth, free)
    if max(missed[2], surplus[2]) == 0:
        x, y, _ = _innermost(truth, free)
        return float(x), float(y), FOREGROUND
    (x, y, _), label = (missed, FOREGROUND) if missed[2] > surplus[2] else (surplus, BACKGROUND)
    return float(x), float(y), label


def displaced(
    point: tuple[float, float], distance_px: float, frame_wh: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float]:
    """The point moved by that distance in a random direction, and clipped to the image."""
    angle = rng.uniform(0, 2 * np.pi)
    x = point[0] + distance_px * np.cos(angle)
    y = point[1] + distance_px * np.sin(angle)
    return float(np.clip(x, 0, frame_wh[0] - 1)), float(np.clip(y, 0, frame_wh[1] - 1))


def _innermost(region: NDArray[np.bool_], free: NDArray[np.bool_] | None = None) -> tuple[int, int, float]:
    """x, y and distance to the edge of a region's innermost free pixel; distance 0 if there is none."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    if free is not None:
        distance = distance * free
    row, column = np.unravel_index(int(np.argmax(distance)), region.shape)
    return int(column), int(row), float(distance[row, column])
