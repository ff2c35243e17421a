"""A shaded ball whose texture turns as it rolls, drawn for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects.shading import lit
from sam_edge.synthetic.objects.sprite import Sprite
from sam_edge.synthetic.objects.textures import Image, as_bytes, ball_skin


@dataclass(frozen=True, eq=False)
class Ball:
    """What a rolling ball needs to be drawn.

    skin: latitude-longitude image (h, 2 h, 3) float32. normals: (n, n, 3) float32 outward.
    gain, shine: (n, n) light on each pixel, alpha: (n, n) coverage, all of a sprite n pixels wide.
    """

    skin: Image
    normals: NDArray[np.float32]
    gain: NDArray[np.float32]
    shine: NDArray[np.float32]
    alpha: NDArray[np.float32]
    px_per_cm: float

    def sprite(self, spin: NDArray[np.float64]) -> Sprite:
        """The ball after the rotation `spin` (3, 3); the anchor is its centre."""
        own = self.normals @ spin.astype(np.float32)
        rows, columns = self.skin.shape[:2]
        longitude = cv2.phase(own[..., 0], own[..., 2]) * np.float32(columns / (2 * np.pi))
        latitude = np.arccos(np.clip(own[..., 1], -1, 1)) * np.float32(rows / np.pi)
        rgb = cv2.remap(self.skin, longitude, latitude, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lit_rgb = np.clip(rgb * self.gain[..., None] + self.shine[..., None], 0, 1)
        rgba = np.dstack([lit_rgb * self.alpha[..., None], self.alpha])
        middle = self.alpha.shape[0] / 2
        return Sprite(as_bytes(rgba), (middle, middle), self.px_per_cm)


def ball(rng: np.random.Generator, radius_cm: float, px_per_cm: float) -> Ball:
    """A ball of `radius_cm` with a random skin."""
    radius = radius_cm * px_per_cm
    size = 2 * (int(np.ceil(radius)) + 2)
    y, x = (np.mgrid[0:size, 0:size].astype(np.float32) + np.float32(0.5 - size / 2)) / radius
    away = np.hypot(x, y)
    inside = np.minimum(away, 1.0) / np.maximum(away, 1e-6)
    nx, ny = x * inside, -y * inside
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    grey = np.full((size, size, 3), 0.5, np.float32)
    gain = lit(grey, nx, ny, nz, 0.0)[..., 0] / 0.5
    glow = lit(np.zeros_like(grey), nx, ny, nz, 0.4)[..., 0]
    # Light hardly reaches the side that faces the table.
    gain *= 1 - 0.35 * np.clip(-ny - 0.2, 0, 1)
    return Ball(
        skin=ball_skin(rng),
        normals=np.dstack([nx, ny, nz]).astype(np.float32),
        gain=gain.astype(np.float32),
        shine=glow.astype(np.float32),
        alpha=np.clip((1 - away) * radius + 0.5, 0, 1).astype(np.float32),
        px_per_cm=px_per_cm,
    )
