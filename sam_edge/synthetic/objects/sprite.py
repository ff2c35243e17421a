"""An image with transparency that stands somewhere in the world."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects.textures import as_bytes

SUPERSAMPLE = 3


@dataclass(frozen=True, eq=False)
class Sprite:
    """A rendered object.

    rgba: (h, w, 4) uint8, colour premultiplied by alpha.
    anchor_px: the (x, y) in the sprite that stands on the object's place in the world.
    px_per_cm: how many sprite pixels one centimetre of the object takes.
    """

    rgba: NDArray[np.uint8]
    anchor_px: tuple[float, float]
    px_per_cm: float


@dataclass(frozen=True, eq=False)
class Sheet:
    """A supersampled canvas in centimetres on which an object is painted.

    `rgb` (h, w, 3) and `alpha` (h, w) are float32 in 0..1; `x_cm` and `y_cm` (up) are the coordinates of
    each pixel relative to the anchor.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    x_cm: NDArray[np.float32]
    y_cm: NDArray[np.float32]
    anchor_px: tuple[float, float]
    px_per_cm: float

    def to_px(self, x_cm: float, y_cm: float) -> tuple[float, float]:
        """Pixel (column, row) of the sheet for a point in centimetres from the anchor, y up."""
        return (
            self.anchor_px[0] + x_cm * self.px_per_cm,
            self.anchor_px[1] - y_cm * self.px_per_cm,
        )

    def paint(self, rgb: NDArray[np.float32], alpha: NDArray[np.float32]) -> None:
        """Blend a colour over the sheet, in place; the sheet's alpha becomes the larger of both.

        Args:
            rgb: (h, w, 3) or (3,), 0 to 1.
            alpha: (h, w), 0 to 1: the colour's share of each pixel.
        """
        weight = alpha[..., None]
        self.rgb[:] = self.rgb * (1 - weight) + rgb * weight
        self.alpha[:] = np.maximum(self.alpha, alpha)

    def polygon(self, points_cm: list[tuple[float, float]]) -> NDArray[np.float32]:
        """Mask (h, w) float32, 1 inside the polygon of corners (x, y), in centimetres from the anchor, y up."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        corners = np.asarray([self.to_px(x, y) for x, y in points_cm])
        cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 1, shift=4)
        return mask.astype(np.float32)

    def ellipse(self, x_cm: float, y_cm: float, rx_cm: float, ry_cm: float) -> NDArray[np.float32]:
        """Mask (h, w) float32, 1 inside the ellipse round (x, y) with radii, all in centimetres, y up."""
        inside = ((self.x_cm - x_cm) / rx_cm) ** 2 + ((self.y_cm - y_cm) / ry_cm) ** 2 <= 1
        return inside.astype(np.float32)

    def sprite(self) -> Sprite:
        """The sheet as (h / 3, w / 3, 4) uint8: averaged down, so that edges are antialiased."""
        height, width = (side // SUPERSAMPLE for side in self.alpha.shape)
        premultiplied = np.dstack([self.rgb * self.alpha[..., None], self.alpha])
        small = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
        return Sprite(
            rgba=as_bytes(small),
            anchor_px=(self.anchor_px[0] / SUPERSAMPLE, self.anchor_px[1] / SUPERSAMPLE),
            px_per_cm=self.px_per_cm / SUPERSAMPLE,
        )


def blank_sheet(left_cm: float, right_cm: float, down_cm: float, up_cm: float, px_per_cm: float) -> Sheet:
    """An empty sheet that reaches as far from the anchor as given in centimetres, plus a margin of two pixels.

    Args:
        left_cm, right_cm, down_cm, up_cm: distances from the anchor to the sides.
        px_per_cm: resolution of the sprite; the sheet's is SUPERSAMPLE times that.
    """
    fine = px_per_cm * SUPERSAMPLE
    margin = 2
    columns = int(np.ceil((left_cm + right_cm) * px_per_cm)) + 2 * margin
    rows = int(np.ceil((down_cm + up_cm) * px_per_cm)) + 2 * margin
    anchor = (
        left_cm * fine + margin * SUPERSAMPLE,
        up_cm * fine + margin * SUPERSAMPLE,
    )
    height, width = rows * SUPERSAMPLE, columns * SUPERSAMPLE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    return Sheet(
        rgb=np.zeros((height, width, 3), np.float32),
        alpha=np.zeros((height, width), np.float32),
        x_cm=(x - anchor[0]) / fine,
        y_cm=(anchor[1] - y) / fine,
        anchor_px=anchor,
        px_per_cm=fine,
    )
