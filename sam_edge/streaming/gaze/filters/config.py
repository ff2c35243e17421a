"""What the gaze chain takes as a blink, a saccade, a fixation and noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from sam_edge.errors import InputError


@dataclass(frozen=True, slots=True)
class GazeFilterConfig:
    """Thresholds, in degrees of the visual field.

    The defaults are for a Neon (200 Hz, about 0.2 degrees of noise a sample, 103 degrees wide);
    `python -m sam_edge.benchmarks.quality.gaze_events` measures them.

    Raises:
        InputError: a number is not finite or out of its range.
    """

    horizontal_fov_deg: float = 103.0
    """How wide the scene camera sees. A degree counts as equally many pixels everywhere, in x and y."""
    px_per_degree: float | None = None
    """Pixels of a frame that make a degree; None: the frame's width through `horizontal_fov_deg`."""
    min_confidence: float = 0.6
    """Samples below it count as closed eyes, 0 to 1. 0.6 is what Pupil Labs recommends."""
    blink_hold_ms: float = 500.0
    """So long after the last good sample the mask of before stays; blinks take 100 to 400 ms."""
    max_gap_ms: float = 150.0
    """Without a good sample for longer than this, what was seen before says nothing about now."""
    saccade_deg_per_s: float = 50.0
    """Faster, the eye is in a saccade (I-VT)."""
    velocity_window_ms: float = 40.0
    """Over so long the velocity is fitted; longer hides noise, and small saccades too."""
    landing_window_ms: float = 20.0
    """The same during a saccade, whose end is to be seen soon."""
    jump_deg: float = 1.0
    """Two neighbours farther apart than noise puts them begin a saccade at once, if they are fast enough."""
    spike_ms: float = 22.0
    """A saccade that ends sooner, within `dispersion_deg` of where it began, was noise: the look goes on."""
    dispersion_deg: float = 2.0
    """A fixation's samples lie within it: their range in x plus their range in y (I-DT)."""
    fixation_ms: float = 70.0
    """Samples of so long are looked at for that; a look that ends sooner was none."""
    min_cutoff_hz: float = 2.5
    """Of the 1-euro filter: lower smooths a resting gaze more."""
    beta: float = 0.5
    """Of the 1-euro filter, in Hz for each degree/s: higher lags less behind a moving one."""
    derivative_cutoff_hz: float = 1.0
    """Of the 1-euro filter: how the velocity that `beta` multiplies is smoothed."""
    noise_deg: float = 0.5
    """The smoothed point asks for a new mask after it moved farther than this."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "px_per_degree":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{field.name} is {value!r}", hint="give a finite number")
            low, high = _RANGES.get(field.name, (1e-3, 1e6))
            if not low <= value <= high:
                raise InputError(f"{field.name} is {value:g}", hint=f"give a number from {low:g} to {high:g}")

    @classmethod
    def from_mapping(cls, settings: Mapping[str, object]) -> GazeFilterConfig:
        """The configuration that a table of a TOML file describes; what it leaves out has its default.

        Raises:
            InputError: naming a setting that there is not, that is not a finite number or out of its range.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise InputError(
                    f"the gaze filter has no setting {str(name)[:60]!r}", hint=f"choose from {', '.join(known)}"
                )
        if "horizontal_fov_deg" in settings and settings.get("px_per_degree") is not None:
            raise InputError(
                "horizontal_fov_deg and px_per_degree both say how large a degree is", hint="give one of them"
            )
        # __post_init__ refuses whatever is not a number.
        return cls(**settings)  # type: ignore[arg-type]

    def scale(self, frame_wh: tuple[int, int]) -> float:
        """Pixels of a frame (width, height) that make a degree."""
        return self.px_per_degree or frame_wh[0] / self.horizontal_fov_deg


_RANGES = {
    "horizontal_fov_deg": (1.0, 360.0),
    "px_per_degree": (0.1, 1e5),
    "min_confidence": (0.0, 1.0),
    "blink_hold_ms": (0.0, 1e6),
    "beta": (0.0, 1e6),
    "noise_deg": (0.0, 1e6),
}
