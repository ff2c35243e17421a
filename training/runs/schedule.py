"""The schedule of a run as functions of the share of it that is over."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Crops:
    """`count` square crops of side `size` a step."""

    size: int
    count: int

    def times(self, factor: float) -> Crops:
        """As many images times `factor`, one at least."""
        return Crops(self.size, max(1, round(self.count * factor)))


@dataclass(frozen=True)
class Length:
    """How long a run is: by the clock, or in steps, as many on every machine."""

    minutes: float
    steps: int | None = None
    skip: float = 0.0
    """The share of the schedule that is left out at its beginning."""

    def share(self, elapsed_s: float, step: int) -> float:
        """The share of the schedule that is over, 0..1."""
        done = elapsed_s / (self.minutes * 60.0) if self.steps is None else step / self.steps
        return self.skip + (1.0 - self.skip) * min(done, 1.0)


@dataclass(frozen=True)
class Phase:
    """Until `until` (share of the run): every step draws one of `crops`, which cost about the same."""

    until: float
    crops: tuple[Crops, ...]


PHASES = (
    Phase(0.4, (Crops(256, 10), Crops(384, 4))),
    Phase(0.8, (Crops(320, 6), Crops(448, 4))),
    Phase(1.0, (Crops(384, 4), Crops(512, 2))),
)
WARM_UP = 0.02
FREEZE_NORMS = 0.8


def phase_at(share: float) -> Phase:
    """Small crops first, with many images a step; large ones last, as the model is used.

    Never small ones alone: a model that has seen no large object answers with a part of it.
    """
    return next((phase for phase in PHASES if share < phase.until), PHASES[-1])


def learning_rate(peak: float, share: float) -> float:
    """Linear warm-up, then a cosine to a hundredth of `peak`."""
    if share < WARM_UP:
        return peak * max(share / WARM_UP, 0.01)
    along = min((share - WARM_UP) / (1.0 - WARM_UP), 1.0)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * along)))
