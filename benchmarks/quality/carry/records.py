"""What was measured, cell by cell: a speed of the head and an age of the pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_edge.benchmarks.quality.scores import Row, summarize

RESIDUALS_PX = (0.0, 0.1, 0.2, 0.4, 1.0)
"""Edges of the groups that measured motions are judged in, in pixels of a 640 pixel frame."""


@dataclass(frozen=True)
class Look:
    """One question about one object: what each method answered. Scores are IoUs with the truth."""

    dataset: str
    cluster: str
    """What the bootstrap draws: looks of one cluster are not independent."""
    speed: str
    """Of the head: deg/s, or a range of them."""
    age_ms: float
    """Of the old pixels; 0: the newest frame itself."""
    moves: bool
    """Whether the object itself may move."""
    in_view: bool
    """Whether the old frame shows the place, by the motion that is known best."""
    scores: dict[str, float]
    """Method -> IoU; NaN where it was not asked."""
    known: bool = True
    """Whether the motion was measured."""
    residual_px: float = 0.0
    """Of the measured motion."""
    error_px: float = float("nan")
    """How far it puts the object from where it is carried in truth, where that is known."""


def cells(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """For each speed and age: how many looks, and of each method the mean IoU and its 95 % interval."""
    found = []
    for speed, age_ms in sorted({(look.speed, look.age_ms) for look in looks}, key=_order):
        members = [look for look in looks if (look.speed, look.age_ms) == (speed, age_ms)]
        summary = summarize([_row(look) for look in members])
        found.append(
            {
                "speed": speed,
                "age_ms": round(age_ms, 1),
                "looks": len(members),
                "known": float(np.mean([look.known for look in members])),
                "in_view": float(np.mean([look.in_view for look in members])),
                "iou": {name: {k: round(v, 4) for k, v in one.items()} for name, one in summary.items()},
            }
        )
    return found


def confidence(looks: Iterable[Look]) -> list[dict[str, Any]]:
    """How good carrying is by what the measured motion says of itself: unknown, or its residual."""
    judged = [look for look in looks if look.age_ms > 0]
    groups = {"unknown": [look for look in judged if not look.known]}
    for low, high in zip(RESIDUALS_PX, (*RESIDUALS_PX[1:], np.inf), strict=True):
        members = [look for look in judged if look.known and low <= look.residual_px < high]
        groups[f"residual from {low:g} px"] = members
    return [
        {
            "group": name,
            "looks": len(members),
            "truth_carried": _mean(look.scores["truth_carried"] for look in members),
            "carried": _mean(look.scores["carried"] for look in members),
            "error_px_median": _percentile(members, 50),
            "error_px_p95": _percentile(members, 95),
        }
        for name, members in groups.items()
        if members
    ]


def _order(cell: tuple[str, float]) -> tuple[float, float]:
    return float(cell[0].split()[0]), cell[1]


def _row(look: Look) -> Row:
    return Row(look.dataset, look.cluster, 0, {}, look.scores)


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)


def _percentile(looks: Sequence[Look], share: float) -> float | None:
    errors = [look.error_px for look in looks if np.isfinite(look.error_px)]
    return round(float(np.percentile(errors, share)), 3) if errors else None
