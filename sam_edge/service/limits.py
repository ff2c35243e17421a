"""How much and how often: rates, waiting lines, and images that are looked at before they are decoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from time import monotonic

import imagesize
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import READABLE, decode_image

MAX_ADDRESSES = 4096


class Bucket:
    """So many a second on average, and twice as many at once.

    Args:
        per_s: the rate.
        clock: seconds; a test may give its own.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._left, self._at = 2 * per_s, clock()

    def take(self) -> bool:
        """Whether one more may come."""
        now = self._clock()
        self._left = min(2 * self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Rates:
    """A bucket for each address; of the addresses that were not seen for longest, none is kept."""

    def __init__(self, per_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether this address may ask once more."""
        bucket = self._buckets.pop(address, None) or Bucket(self._per_s, self._clock)
        self._buckets[address] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take()


def decode_small_image(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB. What its header declares is looked at before anything is decoded,
    and a file whose header says nothing is refused.

    Raises:
        InputError: not an image, cut off, or of more pixels.
    """
    try:
        width, height = imagesize.get(BytesIO(data))
    except Exception:  # the parser meets hostile bytes
        width, height = -1, -1
    if width < 1 or height < 1:
        raise InputError("the body is not an image, or its header does not tell its size", hint=READABLE)
    if width * height > max_pixels:
        raise InputError(
            f"the image has {width} x {height} pixels, more than {max_pixels:,}", hint="scale it down first"
        )
    return decode_image(data, "the image")
