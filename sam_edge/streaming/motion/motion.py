"""How the camera moved between two frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


def _identity() -> NDArray[np.float64]:
    return np.eye(3)


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the background of one frame lies in another one."""

    matrix: NDArray[np.float64] = field(default_factory=_identity)
    """(3, 3): takes a pixel (x, y, 1) of the first frame to the second one, in pixels of the full frame whose
    centres are at whole numbers. Its third row is positive for what lies in front of the camera."""
    inlier_ratio: float = 1.0
    """Share of the tracked points that moved so, 0 to 1."""
    residual_px: float = 0.0
    """Median distance of those points from where the matrix puts them, in pixels of the full frame."""
    is_known: bool = True
    """False: the motion could not be measured (no texture, a cut, a blur); the matrix is then a guess."""

    @classmethod
    def unknown(cls) -> Motion:
        """Nothing is known; the guess is that the camera stood still."""
        return cls(inlier_ratio=0.0, is_known=False)

    def then(self, later: Motion) -> Motion:
        """This motion, then a later one: the worse confidence counts, residuals add up as independent ones."""
        return Motion(
            later.matrix @ self.matrix,
            min(self.inlier_ratio, later.inlier_ratio),
            math.hypot(self.residual_px, later.residual_px),
            self.is_known and later.is_known,
        )

    def inverse(self) -> Motion:
        """From the second frame to the first; unknown where the matrix has no inverse."""
        try:
            inverse = np.linalg.inv(self.matrix)
        except np.linalg.LinAlgError:
            return Motion.unknown()
        return Motion(inverse.astype(np.float64), self.inlier_ratio, self.residual_px, self.is_known)

    def carry_point(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Where a point of the first frame lies in the second one, in pixels; infinity if behind the camera."""
        # Plain numbers: an answer waits for this, and numpy takes longer for one point.
        x, y, scale = (a * x_px + b * y_px + c for a, b, c in self.matrix.tolist())
        if not scale > 0:
            return math.inf, math.inf
        return x / scale, y / scale

    def carry_box(self, box_px: Box) -> Box:
        """Where a box (x0, y0, x1, y1) of the first frame lies in the second one, all in pixels.

        It is the box around the ellipse that fills the first one: it does not grow when the camera rolls
        there and back, as a box around the corners would. Infinity if behind the camera.
        """
        x0, y0, x1, y1 = box_px
        x, y = self.carry_point((x0 + x1) / 2, (y0 + y1) / 2)
        if math.isinf(x):
            return x, y, x, y
        (a, b, _), (c, d, _), (g, h, i) = self.matrix.tolist()
        scale = g * (x0 + x1) / 2 + h * (y0 + y1) / 2 + i
        # The derivative of the matrix at the middle.
        half_wide, half_tall = (x1 - x0) / 2 / scale, (y1 - y0) / 2 / scale
        wide = math.hypot((a - g * x) * half_wide, (b - h * x) * half_tall)
        tall = math.hypot((c - g * y) * half_wide, (d - h * y) * half_tall)
        return x - wide, y - tall, x + wide, y + tall
