"""Frames as cameras deliver them, made from RGB images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.imaging.image import Layout


def laid_out(rgb: NDArray[np.uint8], layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (H, W, 3) in a layout, and what of its colours is left in RGB."""
    if layout in ("rgb", "bgr"):
        return (rgb if layout == "rgb" else rgb[..., ::-1]), rgb
    if layout in ("rgba", "bgra"):
        # Any alpha: it does not count.
        alpha = np.arange(rgb.shape[0] * rgb.shape[1], dtype=np.uint8).reshape(*rgb.shape[:2], 1)
        colours = rgb if layout == "rgba" else rgb[..., ::-1]
        return np.concatenate([colours, alpha], axis=2), rgb
    if layout == "grey":
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        return grey, np.dstack([grey] * 3)
    frame = to_nv12(rgb)
    kept = np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12), np.uint8)
    if layout == "nv12":
        return frame, kept
    # The same colours: two rows share the pairs of U and V that nv12 has once.
    luma, chroma = frame[: rgb.shape[0]], np.repeat(frame[rgb.shape[0] :], 2, axis=0)
    return np.stack([luma, chroma] if layout == "yuyv" else [chroma, luma], axis=2), kept


def to_nv12(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (H * 3 / 2, W), by way of OpenCV's planar I420."""
    height, width, _ = rgb.shape
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    luma, chroma = planar[: height * width], planar[height * width :]
    pairs = np.stack([chroma[: chroma.size // 2], chroma[chroma.size // 2 :]], axis=1)
    return np.concatenate([luma, pairs.reshape(-1)]).reshape(height * 3 // 2, width)
