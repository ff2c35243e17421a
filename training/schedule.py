"""The schedule of a run as functions of the share of its time that is over."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Crops:
    """`count` square crops of side `size` a step."""

    size: int
    count: int


@dataclass(frozen=True)
class Phase:
    """Until `until` (share of the run): every step draws one of `crops`, which cost about the same."""

    until: float
    crops: tuple[Crops, ...]


PHASES = (
    Phase(0.45, (Crops(192, 12), Crops(320, 5))),
    Phase(0.8, (Crops(256, 7), Crops(384, 4))),
    Phase(1.0, (Crops(320, 5), Crops(448, 3))),
)
WARM_UP = 0.02
FREEZE_NORMS = 0.8


def phase_at(share: float) -> Phase:
    """Small crops first, with many pictures a step; large ones last, as the model is used.

    Never small ones alone: a model that has seen no large object answers with a part of it.
    """
    return next((phase for phase in PHASES if share < phase.until), PHASES[-1])


def learning_rate(peak: float, share: float) -> float:
    """Linear warm-up, then a cosine to a hundredth of `peak`."""
    if share < WARM_UP:
        return peak * max(share / WARM_UP, 0.01)
    along = min((share - WARM_UP) / (1.0 - WARM_UP), 1.0)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * along)))
