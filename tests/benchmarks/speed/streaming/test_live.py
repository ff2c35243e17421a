"""The benchmarks of live streams run, and find what they are to find."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from sam_edge.benchmarks.speed.streaming import live, soak


@pytest.mark.slow
def test_live_measures_every_figure() -> None:
    arguments = ["--runtime", "null", "--size", "320x192", "--seconds", "1", "--rounds", "1", "--boxes", "2"]
    answer = CliRunner().invoke(live.main, [*arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    figures = json.loads(answer.stdout)["null"]
    assert {"frames_per_s", "decodes_per_s", "longest_gap_ms", "embedding_age_p99"} <= figures.keys()
    assert figures["frames_per_s"] > 0


@pytest.mark.slow
def test_soak_counts_failures_and_what_the_stalled_sink_lost() -> None:
    answer = CliRunner().invoke(soak.main, ["--runtime", "null", "--minutes", "0.15", "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["reconnects"] >= 1
    assert found["lost_by_the_stalled_sink"] > 0
    assert found["errors"] == {}
    assert len(found["resident_mb"]) >= 2


def test_a_slope_is_found_and_noise_is_none() -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(0, 600, 2.0)
    noise = rng.normal(300, 0.5, len(seconds))
    slope, low, high = soak.slope_mb_per_h(seconds, noise)
    assert -5 < low < slope < high < 5
    slope, low, high = soak.slope_mb_per_h(seconds, noise + seconds * 60 / 3600)
    assert low > 0
    assert slope == pytest.approx(60, abs=8)
