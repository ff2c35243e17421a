"""Simulated prompting: first points as gaze lands, noisy boxes, and corrections of an answer."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.gaze.clicks import centre_click, random_click

Array = NDArray[Any]
EMPTY, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -2.0, 0.0, 1.0, 2.0, 3.0
GAZE_TRIES = 4
BOX_SHARE = 0.28
POINT_TOO = 0.2
"""Of the prompts with a box."""
EXACT_BOXES = 0.65
"""The others are as people draw them. With fewer exact ones a model does not learn to stay inside."""


def gaze_point(mask: Array, others: Array, rng: np.random.Generator, degree_px: float) -> tuple[float, float]:
    """A point (x, y) as gaze aimed at `mask` lands: off by 1 to 3 degrees, sometimes off the object.

    `others` (H, W) is true on different objects; a point there would mean that object and is drawn
    again. A point on nothing close to the rim still means the object.
    """
    start = centre_click(mask) if rng.random() < 0.6 else random_click(mask, rng)
    if rng.random() < 0.65:
        return start
    spread = degree_px * rng.uniform(0.5, 3.0) / 1.5
    height, width = mask.shape
    for _ in range(GAZE_TRIES):
        x, y = np.array(start) + rng.normal(0.0, spread, 2)
        column, row = round(x), round(y)
        if 0 <= column < width and 0 <= row < height and not others[row, column]:
            return float(np.clip(x, 0, width - 1)), float(np.clip(y, 0, height - 1))
    return start


def noisy_box(mask: Array, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) of `mask`: exact, or each side off by some 7 % of its length, 20 px at most."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    exact = np.array([x, y, x + w, y + h], np.float64)
    if rng.random() < EXACT_BOXES:
        return float(x), float(y), float(x + w), float(y + h)
    noise = rng.normal(0.0, 0.07, 4) * np.array([w, h, w, h])
    box = exact + np.clip(noise, -20.0, 20.0)
    limit = mask.shape[1], mask.shape[0]
    x0, x1 = np.clip(np.sort(box[0::2]), 0, limit[0])
    y0, y1 = np.clip(np.sort(box[1::2]), 0, limit[1])
    return float(x0), float(y0), float(x1), float(y1)


def first_prompt(
    mask: Array,
    others: Array,
    rng: np.random.Generator,
    degree_px: float,
    slots: int,
    box_share: float = BOX_SHARE,
) -> tuple[Array, Array]:
    """A point, a box, or both: coords (slots, 2) and labels (slots,), empty slots filled."""
    coords = np.zeros((slots, 2), np.float32)
    labels = np.full(slots, EMPTY, np.float32)
    kind = rng.random()
    used = 0
    if kind < box_share:
        box = noisy_box(mask, rng)
        coords[0], coords[1] = box[:2], box[2:]
        labels[0], labels[1] = TOP_LEFT, BOTTOM_RIGHT
        used = 2
    if kind > box_share * (1.0 - POINT_TOO):
        coords[used] = gaze_point(mask, others, rng, degree_px)
        labels[used] = FOREGROUND
    return coords, labels


def correction(predicted: Array, wanted: Array, rng: np.random.Generator) -> tuple[float, float, float]:
    """The next click on an answer: (x, y, label) in the error region, in cells of the masks.

    In the larger of the missed and the surplus region: half the time the centre of its widest part, half the
    time anywhere in it. For a perfect answer, a foreground point in the object.
    """
    missed, surplus = wanted & ~predicted, predicted & ~wanted
    region, label = missed, FOREGROUND
    if surplus.sum() > missed.sum():
        region, label = surplus, BACKGROUND
    if not region.any():
        region, label = (wanted, FOREGROUND) if wanted.any() else (~wanted, BACKGROUND)
    point = centre_click(region) if rng.random() < 0.5 else random_click(region, rng)
    return point[0], point[1], label
