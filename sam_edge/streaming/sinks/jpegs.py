"""The frames of a recording as JPEG, bounded in size and rate."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.streaming.sources.source import Frame

MAX_SIDE = 1280
"""In pixels."""
MAX_FPS = 30.0
QUALITY = 90


class Jpegs:
    """Turns frames into JPEGs, and leaves those out that come too soon after the last."""

    def __init__(self) -> None:
        self.scale = 1.0
        """Pixels of the newest JPEG for a pixel of its frame."""
        self._newest_ns: int | None = None

    def __call__(self, frame: Frame) -> bytes | None:
        """The frame as JPEG, or None."""
        # A little early is in time: cameras are not exact. A camera that came back may count from 0 again.
        if self._newest_ns is not None and abs(frame.capture_ns - self._newest_ns) < 0.9e9 / MAX_FPS:
            return None
        self._newest_ns = frame.capture_ns
        image = frame.image
        self.scale = min(1.0, MAX_SIDE / max(image.shape[:2]))
        bgr = cv2.cvtColor(shrunk(image, self.scale), cv2.COLOR_RGB2BGR)
        encoded: bytes = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
        return encoded


def shrunk(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """An image (H, W) or (H, W, 3), scaled down."""
    if scale >= 1:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
