"""Scores of many objects: means, intervals, groups, and the table they are read in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from sam_edge.errors import InputError

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)
"""Per cent: a 95 % interval."""


@dataclass(frozen=True)
class Row:
    """What was measured on one object."""

    dataset: str
    image: str
    number: int
    """The object's number in the label image."""
    fields: Mapping[str, str]
    scores: Mapping[str, float]
    """Name -> value, NaN where it was not measured; every row of a table has the same names."""


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Score -> mean, low and high end of its 95 % interval, and how many objects have it.

    The bootstrap draws images, not objects: objects of one image are not independent.
    """
    names = sorted({row.image for row in rows})
    place = {name: index for index, name in enumerate(names)}
    owner = np.array([place[row.image] for row in rows])
    draws = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    # How often each object's image was drawn: the mean of a draw is a weighted mean.
    weights = np.stack([np.bincount(draw, minlength=len(names)) for draw in draws])[:, owner]
    summary = {}
    for score in rows[0].scores:
        values = np.array([row.scores[score] for row in rows])
        known = np.isfinite(values)
        if known.any():
            drawn = weights[:, known]
            # A draw may miss every object that has the score: it says nothing about it.
            drawn = drawn[drawn.any(axis=1)]
            means = drawn @ values[known] / drawn.sum(axis=1)
            low, high = np.percentile(means, INTERVAL).tolist()
            summary[score] = {
                "mean": float(values[known].mean()),
                "low": low,
                "high": high,
                "objects": int(np.count_nonzero(known)),
            }
    return summary


def unit(score: str) -> str:
    """What a score counts, by its name."""
    if score.startswith("noc_"):
        return "clicks"
    return "flicker" if score.startswith("flicker") else "IoU"


def unknown(rows: Sequence[Row]) -> list[str]:
    """The scores that no row has a value of."""
    return [score for score in rows[0].scores if not any(np.isfinite(row.scores[score]) for row in rows)]


def report(rows: Sequence[Row], group_by: str | None = None) -> dict[str, Any]:
    """Per data set, the mean of sets and, if asked, per group of a field: object counts and scores.

    Objects without the field are the group "(none)".

    Raises:
        InputError: no objects.
    """
    if not rows:
        raise InputError("no object was measured", hint="lower --min-area, or give images with labels")
    sets = _grouped(rows, {id(row): row.dataset for row in rows})
    document: dict[str, Any] = {"sets": sets}
    document["mean_of_sets"] = {
        score: float(np.mean([item["scores"][score]["mean"] for item in sets.values()]))
        for score in rows[0].scores
        if all(score in item["scores"] for item in sets.values())
    }
    if group_by:
        document["groups"] = _grouped(rows, {id(row): row.fields.get(group_by, "") for row in rows})
    return document


def table(document: Mapping[str, Any]) -> str:
    """A report as aligned text: under each data set and group the mean, interval and objects of each score."""
    lines = []
    for title in ("sets", "groups"):
        for name, item in document.get(title, {}).items():
            lines.append(f"{name}: {item['objects']} objects on {item['images']} images")
            for kind, scores in groupby(item["scores"], unit):
                lines.append(f"  {'score':<24}{'mean ' + kind:>12}   {'95 % interval':<16}{'objects':>8}")
                for score in scores:
                    found = item["scores"][score]
                    interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
                    lines.append(f"  {score:<24}{found['mean']:12.3f}   {interval:<16}{found['objects']:>8}")
            lines += [f"  {score:<24}{'-':>12}   nothing to measure it on" for score in item["unknown"]]
    if len(document["sets"]) > 1:
        lines.append("mean of the sets")
        for kind, scores in groupby(document["mean_of_sets"], unit):
            lines.append(f"  {'score':<24}{'mean ' + kind:>12}")
            lines += [f"  {score:<24}{document['mean_of_sets'][score]:12.3f}" for score in scores]
    return "\n".join(lines)


def _grouped(rows: Sequence[Row], keys: Mapping[int, str]) -> dict[str, Any]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(keys[id(row)], []).append(row)
    return {
        name or "(none)": {
            "objects": len(members),
            "images": len({row.image for row in members}),
            "scores": summarize(members),
            "unknown": unknown(members),
        }
        for name, members in sorted(groups.items())
    }
