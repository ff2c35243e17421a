"""Light on a surface: one lamp from the upper left in front, a warm ambient, and a highlight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_LAMP = np.asarray([-0.55, 0.62, 0.56], np.float32)
_LAMP /= np.linalg.norm(_LAMP)
_HALF = _LAMP + np.asarray([0.0, 0.0, 1.0], np.float32)
_HALF /= np.linalg.norm(_HALF)


def lit(rgb: Array, nx: Array, ny: Array, nz: Array, gloss: float = 0.3) -> Array:
    """Blinn-Phong on `rgb` (..., 3); the normal is x right, y up, z to the viewer, any length."""
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
    facing = (nx * _LAMP[0] + ny * _LAMP[1] + nz * _LAMP[2]) / length
    shine = np.clip((nx * _HALF[0] + ny * _HALF[1] + nz * _HALF[2]) / length, 0, 1)
    # Light bounced from the table keeps the shaded side from going black.
    diffuse = 0.42 + 0.68 * np.clip(facing, 0, 1) + 0.10 * np.clip(-facing, 0, 1)
    bright: Array = rgb * diffuse[..., None] + gloss * (shine**28)[..., None]
    return np.clip(bright, 0, 1).astype(np.float32)


def face_light(nx: float, ny: float, nz: float) -> float:
    """The diffuse factor of a flat face with this unit normal."""
    facing = nx * _LAMP[0] + ny * _LAMP[1] + nz * _LAMP[2]
    return float(0.42 + 0.68 * max(0.0, facing))
