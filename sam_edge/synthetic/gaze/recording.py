"""The gaze an eye tracker in the glasses would report while its wearer looks at a scene."""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.storage.files import atomic_path
from sam_edge.synthetic.gaze.eye_movements import EyeEvent, Eyes, Phase, plan_eye_movements, point_at
from sam_edge.synthetic.scene import Scene

_DRIFT_MEMORY_S = 0.5


@dataclass(frozen=True)
class SimulatedGaze:
    """One reported gaze point and the truth behind it."""

    t_ns: int
    """Time since the scene began."""
    x_px: float
    """Across the frame; NaN in a blink. May lie outside of the frame."""
    y_px: float
    """Down the frame; NaN in a blink."""
    confidence: float
    """0 in a blink, else near 1."""
    phase: Phase
    """What the eye does: "fixation", "pursuit", "saccade" or "blink"."""
    target_id: int
    """Label of the object looked at, or gone to in a saccade or blink; 0 is the background."""


def simulate_gaze(
    scene: Scene,
    rate_hz: float = 120.0,
    seed: int | None = None,
    *,
    noise_deg: float = 0.4,
    offset_deg: float = 0.6,
    drift_deg: float = 0.1,
) -> list[SimulatedGaze]:
    """Look at the objects of `scene` as a person might, from its first frame to its last.

    Fixations of 150 to 600 ms and longer smooth pursuits of moving objects keep to a point of the object
    while it and the head move (ideal vestibulo-ocular reflex). Saccades keep to the main sequence with a
    minimum-jerk profile. Blinks of 100 to 300 ms come 3 to 6 s apart. Degrees become pixels at
    `scene.px_per_degree`.

    Args:
        rate_hz: samples a second, 1..2000.
        seed: of the eye; None takes the scene's. Movements do not depend on the three errors below.
        noise_deg: RMS length of the independent error of each sample (precision).
        offset_deg: length of one constant error (accuracy), in a random direction.
        drift_deg: RMS length of an error that changes over half a second.

    Raises:
        InputError: for arguments out of range.
    """
    for value, name, low, high in (
        (rate_hz, "rate_hz", 1.0, 2000.0),
        (noise_deg, "noise_deg", 0.0, 20.0),
        (offset_deg, "offset_deg", 0.0, 20.0),
        (drift_deg, "drift_deg", 0.0, 20.0),
    ):
        if not math.isfinite(value) or not low <= value <= high:
            raise InputError(f"gaze {name} {value!r}", hint=f"give a number from {low:g} to {high:g}")
    if seed is not None and seed < 0:
        raise InputError(f"gaze seed {seed!r}", hint="give a whole number from 0")
    own_seed = scene.seed if seed is None else seed
    eyes = Eyes(scene)
    events = plan_eye_movements(eyes, np.random.default_rng([own_seed, 3]))
    count = max(1, math.floor(scene.frame_count / scene.fps * rate_hz + 1e-9))
    rng = np.random.default_rng([own_seed, 4])
    errors_px = scene.px_per_degree * (
        _error_deg(rng, count, noise_deg)
        + _drift_deg(rng, count, drift_deg, rate_hz)
        + _offset_deg(rng, offset_deg)
    )
    trust = 1 - np.abs(0.02 * rng.standard_normal(count))
    return [
        _sample(eyes, _event_at(events, index / rate_hz), index / rate_hz, error, float(sure))
        for index, (error, sure) in enumerate(zip(errors_px, trust, strict=True))
    ]


def write_gaze_csv(path: str | Path, samples: Sequence[SimulatedGaze], width: int, height: int) -> None:
    """Write the columns t_s, x_norm, y_norm, confidence, as recordings of eye trackers have them.

    Positions are parts of a frame of `width` x `height` pixels, origin top left. A blink has confidence 0
    and keeps the last position, so that no cell is empty.

    Raises:
        InputError: no samples, or a size that is not positive. OutputError: `path` cannot be written.
    """
    if not samples:
        raise InputError("no gaze samples to write: simulate at least one")
    if width <= 0 or height <= 0:
        raise InputError(f"gaze frame size {width}x{height}", hint="give positive pixels")
    seen = next((s for s in samples if math.isfinite(s.x_px)), None)
    x, y = (0.5, 0.5) if seen is None else (seen.x_px / width, seen.y_px / height)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("t_s", "x_norm", "y_norm", "confidence"))
        for sample in samples:
            if math.isfinite(sample.x_px) and math.isfinite(sample.y_px):
                x, y = sample.x_px / width, sample.y_px / height
            seconds, rest_ns = divmod(sample.t_ns, 1_000_000_000)
            writer.writerow((f"{seconds}.{rest_ns:09d}", f"{x:.8f}", f"{y:.8f}", f"{sample.confidence:.4f}"))


def _sample(
    eyes: Eyes, event: EyeEvent, t_s: float, error_px: NDArray[np.float64], sure: float
) -> SimulatedGaze:
    x, y, confidence = math.nan, math.nan, 0.0
    if event.phase != "blink":
        x, y = point_at(eyes, event, t_s)
        x, y = x + float(error_px[0]), y + float(error_px[1])
        confidence = sure
    return SimulatedGaze(round(t_s * 1e9), x, y, confidence, event.phase, event.goal.label)


def _event_at(events: list[EyeEvent], t_s: float) -> EyeEvent:
    return events[min(bisect_right(events, t_s, key=lambda e: e.end_s), len(events) - 1)]


def _error_deg(rng: np.random.Generator, count: int, rms_deg: float) -> NDArray[np.float64]:
    """(count, 2) independent errors whose length has this RMS."""
    return rng.standard_normal((count, 2)) * (rms_deg / math.sqrt(2))


def _drift_deg(rng: np.random.Generator, count: int, rms_deg: float, rate_hz: float) -> NDArray[np.float64]:
    """(count, 2) Ornstein-Uhlenbeck process of this RMS length."""
    keep = math.exp(-1 / (rate_hz * _DRIFT_MEMORY_S))
    kicks = _error_deg(rng, count, rms_deg)
    drift = np.empty_like(kicks)
    drift[0] = kicks[0]
    for index in range(1, count):
        drift[index] = keep * drift[index - 1] + math.sqrt(1 - keep * keep) * kicks[index]
    return drift


def _offset_deg(rng: np.random.Generator, length_deg: float) -> NDArray[np.float64]:
    """(1, 2) of this length in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    return length_deg * np.array([[math.cos(angle), math.sin(angle)]])
