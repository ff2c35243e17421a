"""Soft shadows: of an object on the table top, and of a hanging object on the wall."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects.lathe import Viewpoint
from sam_edge.synthetic.objects.sprite import Sprite
from sam_edge.synthetic.objects.textures import as_bytes


@dataclass(frozen=True, eq=False)
class Shadow:
    """How much light an object takes away.

    dark: (h, w) uint8, 255 takes all. anchor_px and px_per_cm as in `Sprite`. offset_cm: (x, y) from the
    object's place. z_cm: the depth of the surface it falls on; None is the object's own.
    """

    dark: NDArray[np.uint8]
    anchor_px: tuple[float, float]
    px_per_cm: float
    offset_cm: tuple[float, float] = (0.0, 0.0)
    z_cm: float | None = None


def table_shadow(
    half_wide_cm: float, half_deep_cm: float, tall_cm: float, view: Viewpoint, px_per_cm: float
) -> Shadow:
    """The shadow of something that stands on the table; the lamp is at the upper left in front."""
    squash = view.height_cm / view.depth_cm
    scale = px_per_cm / 2
    reach_x, reach_y = 0.55 * min(tall_cm, 12.0), 0.5 * min(tall_cm, 12.0)
    left, right = half_wide_cm + 4, half_wide_cm + reach_x + 5
    up, down = (half_deep_cm + reach_y + 5) * squash, (half_deep_cm + 4) * squash
    size = (int((up + down) * scale) + 1, int((left + right) * scale) + 1)
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    x_cm, z_cm = x / scale - left, (up - y / scale) / squash
    dark = np.zeros(size, np.float32)
    for part in np.linspace(0, 1, 6):
        away = np.hypot(
            (x_cm - part * reach_x) / (half_wide_cm * (1 + 0.2 * part)),
            (z_cm - part * reach_y) / (half_deep_cm * (1 + 0.2 * part)),
        )
        soft = np.clip((1.25 + 0.2 * part - away) / (0.4 + 0.5 * part), 0, 1)
        dark = np.maximum(dark, soft * (0.55 - 0.28 * part))
    contact = np.clip((1.16 - np.hypot(x_cm / half_wide_cm, z_cm / half_deep_cm)) / 0.22, 0, 1)
    dark = cv2.GaussianBlur(np.maximum(dark, 0.66 * contact), (0, 0), 0.5 * scale)
    return Shadow(_fading(dark), (left * scale, up * scale), scale)


def wall_shadow(sprite: Sprite, wall_cm: float) -> Shadow:
    """The blurred outline of a hanging object, to the right of it and lower, on the wall."""
    pad = int(2.5 * sprite.px_per_cm)
    alpha = cv2.copyMakeBorder(sprite.rgba[..., 3], pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    soft = cv2.GaussianBlur(alpha.astype(np.float32) / 255, (0, 0), 1.1 * sprite.px_per_cm)
    anchor = (sprite.anchor_px[0] + pad, sprite.anchor_px[1] + pad)
    return Shadow(_fading(0.3 * soft), anchor, sprite.px_per_cm, (9.0, -5.0), wall_cm)


def _fading(dark: NDArray[np.float32]) -> NDArray[np.uint8]:
    """As bytes, and 0 on the rim, so that the image of a shadow never ends in a step."""
    height, width = dark.shape
    rim = np.minimum(np.arange(width), np.arange(width)[::-1]) / (0.06 * width + 1)
    side = np.minimum(np.arange(height), np.arange(height)[::-1]) / (0.06 * height + 1)
    window = np.clip(rim, 0, 1)[None, :] * np.clip(side, 0, 1)[:, None]
    return as_bytes(dark * window)
