"""The benchmarks of what a stream needs, on the session that computes nothing."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from click.testing import CliRunner


def answer(name: str, *arguments: str) -> Any:
    main = importlib.import_module(f"sam_edge.benchmarks.speed.{name}").main
    found = CliRunner().invoke(main, ["--runtime", "null", "--size", "64x48", "--json", *arguments])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.mark.parametrize("background", [0, 1])
def test_frames_and_gaze_are_answered_at_once(background: int) -> None:
    rows = answer("streaming.by_hand", "--seconds", "0.3", "--rounds", "2", "--background", str(background))
    row = rows["null"]
    assert 0 < row["frames_per_s"] <= 30
    assert 0 < row["masks_per_s"] <= 200
    assert row["gaze_to_mask_p50"] <= row["gaze_to_mask_p99"]
    assert row["frame_age_p50"] > 0


def test_every_number_of_prompts_is_compared_with_one_by_one() -> None:
    (counts,) = answer("batch", "--rounds", "1").values()
    assert list(counts) == ["1", "2", "4", "8", "16"]
    for row in counts.values():
        assert row["gain"] == pytest.approx(row["single_ms"] / row["batch_ms"])


def test_the_slowest_call_is_compared_with_the_median() -> None:
    rows = answer("warm", "--calls", "4")
    assert list(rows) == ["null, 1 threads", "null, 2 threads"]
    for row in rows.values():
        for kind in ("encode", "decode"):
            assert row[f"{kind}_max_ms"] >= row[f"{kind}_median_ms"] > 0
            assert row[f"{kind}_ratio"] >= 1
