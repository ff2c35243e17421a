"""Solids of revolution seen from above at an angle: mugs, bottles, pots, fruit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects.sprite import Sheet

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Viewpoint:
    """From where an object on the table is seen: eye `height_cm` above the table, `depth_cm` in front."""

    height_cm: float
    depth_cm: float

    def squash(self, level_cm: float) -> float:
        """Height over width of the ellipse that a level circle at `level_cm` is seen as."""
        return max(0.04, (self.height_cm - level_cm) / self.depth_cm)


@dataclass(frozen=True, eq=False)
class Turned:
    """What each pixel of a sheet sees of a turned solid.

    inside: (h, w) 0 or 1. level_cm: height above the base. angle: 0 faces the viewer, -pi/2 the left.
    nx, ny, nz: the normal, x right, y up, z to the viewer.
    """

    inside: Array
    level_cm: Array
    angle: Array
    nx: Array
    ny: Array
    nz: Array


def turn(sheet: Sheet, profile: list[tuple[float, float]], view: Viewpoint) -> Turned:
    """Turn a profile of (level_cm, radius_cm), levels rising, about the sheet's vertical axis.

    The solid is a stack of discs painted from the bottom up: a higher disc hides what lies behind it.
    """
    levels_in, radii_in = (np.asarray(column, np.float32) for column in zip(*profile, strict=True))
    count = max(2, int((levels_in[-1] - levels_in[0]) * sheet.px_per_cm * 1.5))
    levels = np.linspace(levels_in[0], levels_in[-1], count, dtype=np.float32)
    radii = np.maximum(np.interp(levels, levels_in, radii_in), 0.02).astype(np.float32)
    slopes = np.gradient(radii, levels).astype(np.float32)
    squashes = np.asarray([view.squash(float(level)) for level in levels], np.float32)
    index = np.zeros(sheet.alpha.shape, np.int32)
    for number, (level, radius, squash) in enumerate(zip(levels, radii, squashes, strict=True)):
        x_px, y_px = sheet.to_px(0.0, float(level))
        axes = (radius * sheet.px_per_cm * 16, radius * squash * sheet.px_per_cm * 16)
        cv2.ellipse(
            index,
            (round((x_px - 0.5) * 16), round((y_px - 0.5) * 16)),
            (round(float(axes[0])), max(8, round(float(axes[1])))),
            0.0,
            0.0,
            360.0,
            number + 1,
            -1,
            cv2.LINE_8,
            4,
        )
    at = np.maximum(index - 1, 0)
    across = np.clip(sheet.x_cm / radii[at], -1, 1)
    toward = np.clip((levels[at] - sheet.y_cm) / (radii[at] * squashes[at]), -1, 1)
    return Turned(
        inside=(index > 0).astype(np.float32),
        level_cm=levels[at],
        angle=np.arctan2(across, np.maximum(toward, 1e-3)).astype(np.float32),
        nx=across.astype(np.float32),
        ny=-slopes[at],
        nz=toward.astype(np.float32),
    )
