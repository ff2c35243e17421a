"""How the camera moved between two frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


def _identity() -> NDArray[np.float64]:
    return np.eye(3)


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the background of one frame lies in another one."""

    matrix: NDArray[np.float64] = field(default_factory=_identity)
    """(3, 3): takes a pixel (x, y, 1) of the first frame to the second one, in pixels of the full frame."""
    inlier_ratio: float = 1.0
    """Share of the tracked points that moved so, 0 to 1."""
    residual_px: float = 0.0
    """Median distance of those points from where the matrix puts them, in pixels of the full frame."""
    is_known: bool = True
    """False: the motion could not be measured (no texture, a cut, a blur); the matrix is then a guess."""

    def then(self, later: Motion) -> Motion:
        """This motion, then a later one: the worse confidence counts, residuals add up as independent ones."""
        return Motion(
            later.matrix @ self.matrix,
            min(self.inlier_ratio, later.inlier_ratio),
            float(np.hypot(self.residual_px, later.residual_px)),
            self.is_known and later.is_known,
        )

    def inverse(self) -> Motion:
        """From the second frame to the first."""
        return Motion(
            np.linalg.inv(self.matrix).astype(np.float64), self.inlier_ratio, self.residual_px, self.is_known
        )

    def carry_point(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Where a point of the first frame lies in the second one, in pixels."""
        rows = self.matrix.tolist()
        # Plain numbers: an answer waits for this, and numpy takes longer for one point.
        x, y, scale = (a * x_px + b * y_px + c for a, b, c in rows)
        return x / scale, y / scale
