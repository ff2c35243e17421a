"""The wearer's head: where the camera looks at every moment, as a smooth function of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_YAW_LIMIT_DEG = 15.0
_PITCH_LIMIT_DEG = 4.0


@dataclass(frozen=True)
class Sway:
    """Band-limited noise: a sum of sines. rows of `terms`: amplitude, frequency in Hz, phase."""

    terms: tuple[tuple[float, float, float], ...]

    def __call__(self, t_s: float) -> float:
        return float(sum(a * np.sin(2 * np.pi * hertz * t_s + phase) for a, hertz, phase in self.terms))


@dataclass(frozen=True)
class HeadTurn:
    """A quick turn of yaw and pitch that starts at `start_s` and takes `duration_s`."""

    start_s: float
    duration_s: float
    yaw_deg: float
    pitch_deg: float


@dataclass(frozen=True)
class HeadMotion:
    """Yaw, pitch and roll in degrees and a shift in parts of the focal length, all of time."""

    yaw: Sway
    pitch: Sway
    roll: Sway
    shift_x: Sway
    shift_y: Sway
    turns: tuple[HeadTurn, ...]
    start_deg: float = 0.0
    """Yaw at time 0, where the head turns steadily."""
    pan_deg_s: float = 0.0
    """How fast it turns steadily, positive to the right."""

    def angles_deg(self, t_s: float) -> tuple[float, float, float]:
        """(yaw to the right, pitch upwards, roll clockwise) at `t_s`."""
        yaw, pitch = self.yaw(t_s) + self.start_deg + self.pan_deg_s * t_s, self.pitch(t_s)
        for turn in self.turns:
            done = minimum_jerk((t_s - turn.start_s) / turn.duration_s)
            yaw += turn.yaw_deg * done
            pitch += turn.pitch_deg * done
        return yaw, pitch, self.roll(t_s)


def minimum_jerk(part: float) -> float:
    """From 0 to 1 with zero speed and acceleration at both ends (Flash and Hogan 1985); peak speed 1.875."""
    p = min(max(part, 0.0), 1.0)
    return p * p * p * (10 - 15 * p + 6 * p * p)


def steady_motion(rng: np.random.Generator, duration_s: float, pan_deg_s: float) -> HeadMotion:
    """A head that sways and turns at one speed, from as far on one side as it comes on the other."""
    return replace(head_motion(rng, 0.0), start_deg=-pan_deg_s * duration_s / 2, pan_deg_s=pan_deg_s)


def head_motion(rng: np.random.Generator, duration_s: float) -> HeadMotion:
    """Restless head: slow sway all the time, and every few seconds a turn of up to 100 deg/s."""
    turns: list[HeadTurn] = []
    yaw, pitch, t_s = 0.0, 0.0, rng.uniform(1.0, 2.2)
    while t_s < duration_s:
        goal_yaw = rng.uniform(-1, 1) * _YAW_LIMIT_DEG
        if abs(goal_yaw - yaw) < 7:
            goal_yaw = yaw - np.copysign(rng.uniform(8, 15), yaw)
        goal_pitch = rng.uniform(-1, 1) * _PITCH_LIMIT_DEG
        step_yaw, step_pitch = float(goal_yaw - yaw), float(goal_pitch - pitch)
        peak_deg_s = rng.uniform(45, 100)
        took_s = 1.875 * float(np.hypot(step_yaw, step_pitch)) / peak_deg_s
        turns.append(HeadTurn(float(t_s), took_s, step_yaw, step_pitch))
        yaw, pitch = float(goal_yaw), float(goal_pitch)
        t_s += took_s + rng.uniform(1.4, 3.4)
    return HeadMotion(
        yaw=_sway(rng, 1.3),
        pitch=_sway(rng, 0.9),
        roll=_sway(rng, 0.9),
        shift_x=_sway(rng, 0.012),
        shift_y=_sway(rng, 0.010),
        turns=tuple(turns),
    )


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Matrix:
    """(3, 3) from the camera's axes (x right, y down, z ahead) to the world's."""
    yaw, pitch, roll = np.deg2rad([yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]], np.float64)
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]],
        np.float64,
    )
    about_z = np.array(
        [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]], np.float64
    )
    turned: Matrix = about_y @ about_x @ about_z
    return turned


def _sway(rng: np.random.Generator, size: float, terms: int = 5) -> Sway:
    """Noise between 0.08 and 1.4 Hz whose amplitude falls with frequency; RMS about `size`."""
    hertz = np.geomspace(0.08, 1.4, terms) * rng.uniform(0.85, 1.15, terms)
    amplitude = 1 / (0.3 + hertz) * rng.uniform(0.6, 1.2, terms)
    amplitude *= size / np.sqrt(0.5 * np.sum(amplitude**2))
    phase = rng.uniform(0, 2 * np.pi, terms)
    return Sway(tuple((float(a), float(f), float(p)) for a, f, p in zip(amplitude, hertz, phase, strict=True)))
