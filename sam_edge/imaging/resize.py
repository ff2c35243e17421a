"""The antialiased bilinear resize that the SAM family was trained and evaluated with.

SAM's reference resizes images with Pillow. OpenCV has no such filter (INTER_LINEAR aliases when it shrinks,
INTER_AREA is a box), so Pillow's arithmetic is repeated here exactly: a triangle filter widened by the
shrink factor, weights rounded to 22 fractional bits, one pass along x rounded to 8 bits, then one along y.
Source of the algorithm: Pillow, src/libImaging/Resample.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

_FRACTION_BITS = 22


def resize_antialias(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a uint8 image (H, W, 3) to `size` = (width, height), equal to Pillow's BILINEAR."""
    width, height = size
    if image.shape[1] != width:
        # Whole rows are weighted at once, so columns are transposed into rows, which OpenCV does fast.
        image = _transposed(_resize_rows(_transposed(image), width))
    if image.shape[0] != height:
        image = _resize_rows(image, height)
    return image


def _resize_rows(image: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Resize along axis 0 to `count` rows."""
    rows = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    # int32 holds the sum: weights of a row add up to 2**22, pixels are below 2**8.
    total = np.full((count, rows.shape[1]), 1 << (_FRACTION_BITS - 1), np.int32)
    part = np.empty_like(total)
    for index, weight in zip(*taps(image.shape[0], count), strict=True):
        total += np.multiply(rows[index], weight[:, None], out=part, dtype=np.int32)
    total >>= _FRACTION_BITS
    return np.clip(total, 0, 255, out=total).astype(np.uint8).reshape(count, *image.shape[1:])


def _transposed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cast("NDArray[np.uint8]", cv2.transpose(image))


@lru_cache(maxsize=16)
def taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Source rows and integer weights of each tap: two arrays (taps, target)."""
    scale = source / target
    reach = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), source)
    position = first + np.arange(int((last - first).max()))[:, None]
    weight = np.maximum(1.0 - np.abs((position - centre + 0.5) / reach), 0.0)
    weight[position >= last] = 0.0
    weight /= weight.sum(axis=0)
    fixed = np.floor(weight * (1 << _FRACTION_BITS) + 0.5).astype(np.int32)
    return np.minimum(position, source - 1), fixed
