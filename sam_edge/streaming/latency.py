"""Durations of a run, summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Summary = Mapping[str, Mapping[str, float]]
"""Stage -> {"n", "p50", "p90", "p99", "max"}, in milliseconds but for the count."""


def summarize(stages_ms: Mapping[str, Sequence[float]]) -> Summary:
    """Count, percentiles and maximum of each stage that happened."""
    summary = {}
    for stage, values in stages_ms.items():
        if values:
            p50, p90, p99 = np.percentile(values, (50, 90, 99)).round(3).tolist()
            summary[stage] = {
                "n": len(values), "p50": p50, "p90": p90, "p99": p99, "max": round(max(values), 3)
            }  # fmt: skip
    return summary


def table(summary: Summary) -> str:
    """The summary as aligned text, one line a stage."""
    lines = [f"{'ms':<10}{'n':>7}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"]
    lines += [
        f"{stage:<10}{row['n']:>7.0f}{row['p50']:>9.2f}{row['p90']:>9.2f}{row['p99']:>9.2f}{row['max']:>9.2f}"
        for stage, row in summary.items()
    ]
    return "\n".join(lines)
