"""How an object moves: a function from time to a place on the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Place:
    """Where an object is: x to the right, y above the table, z ahead, all cm; tilt clockwise; spin (3, 3)."""

    x_cm: float
    y_cm: float
    z_cm: float
    tilt_rad: float
    spin: NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """A periodic motion about (x_cm, y_cm, z_cm); every amplitude 0 is an object at rest.

    `linger` flattens the turning points, so that a pushed object stops and goes. A ball rolls on
    `roll_radius_cm`; a hanging object swings by `swing_rad` about its anchor.
    """

    x_cm: float
    y_cm: float
    z_cm: float
    reach_x_cm: float = 0.0
    reach_z_cm: float = 0.0
    swing_rad: float = 0.0
    period_s: float = 4.0
    phase: float = 0.0
    linger: float = 0.0
    roll_radius_cm: float = 0.0
    start_spin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def moves(self) -> bool:
        """Whether the object changes its place at all."""
        return bool(self.reach_x_cm or self.reach_z_cm or self.swing_rad)

    def at(self, t_s: float) -> Place:
        """The place at `t_s` seconds."""
        angle = 2 * np.pi * t_s / self.period_s + self.phase
        wave = float(np.sin(angle))
        if self.linger:
            wave = float(np.tanh(self.linger * wave) / np.tanh(self.linger))
        dx = self.reach_x_cm * wave
        dz = self.reach_z_cm * float(np.cos(angle))
        return Place(
            x_cm=self.x_cm + dx,
            y_cm=self.y_cm,
            z_cm=self.z_cm + dz,
            tilt_rad=self.swing_rad * wave,
            spin=self._spin(dx, dz),
        )

    def _spin(self, dx: float, dz: float) -> NDArray[np.float64]:
        if not self.roll_radius_cm:
            return np.eye(3)
        # Rolling to the right turns the top to the right: clockwise, a negative angle about z to the viewer.
        roll = _about((0.0, 0.0, -dx / self.roll_radius_cm))
        tumble = _about((-dz / self.roll_radius_cm, 0.0, 0.0))
        spin: NDArray[np.float64] = roll @ tumble @ _about(self.start_spin)
        return spin


def _about(vector: tuple[float, float, float]) -> NDArray[np.float64]:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turned
