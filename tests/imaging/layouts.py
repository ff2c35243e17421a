"""Frames as cameras deliver them, made from RGB images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.imaging.image import Layout


def laid_out(rgb: NDArray[np.uint8], layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (H, W, 3) in a layout, and what of its colours is left in RGB."""
    if layout == "nv12":
        frame = to_nv12(rgb)
        return frame, np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12), np.uint8)
    return (rgb if layout == "rgb" else rgb[..., ::-1]), rgb


def to_nv12(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (H * 3 / 2, W), by way of OpenCV's planar I420."""
    height, width, _ = rgb.shape
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    luma, chroma = planar[: height * width], planar[height * width :]
    pairs = np.stack([chroma[: chroma.size // 2], chroma[chroma.size // 2 :]], axis=1)
    return np.concatenate([luma, pairs.reshape(-1)]).reshape(height * 3 // 2, width)
