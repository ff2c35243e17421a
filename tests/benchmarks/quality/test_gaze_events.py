"""The gaze chain against what trackers' own software found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sam_edge.benchmarks.quality.gaze_events import iou, main, match, thinned
from sam_edge.streaming.gaze.filters.events import Event
from sam_edge.streaming.gaze.sample import GazeSample


def looks(*spans: tuple[int, int]) -> list[Event]:
    return [Event("fixation", start, end) for start, end in spans]


def test_events_match_once_and_by_half_of_their_time() -> None:
    assert iou(*looks((0, 10), (5, 15))) == pytest.approx(1 / 3)
    found = match(looks((0, 10), (20, 24), (24, 30)), looks((0, 6), (20, 30), (40, 50)), "fixation")
    # (24, 30) is 0.6 of (20, 30); (20, 24) is 0.4 of it, and it is taken.
    assert (found.own, found.theirs, found.found) == (3, 3, 2)
    assert found.f1 == pytest.approx(2 / 3)
    assert match(looks((0, 10)), looks((0, 10)), "saccade").found == 0


def test_a_slower_tracker_sends_samples_at_its_rate() -> None:
    samples = [GazeSample(number * 5_000_000, 0.5, 0.5) for number in range(200)]
    assert len(thinned(samples, 200)) == 200
    assert len(thinned(samples, 50)) == 50


def test_recordings_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.exit_code == 2
    assert done.output.startswith("error: cannot read")


@pytest.mark.shared
def test_the_chain_agrees_with_the_trackers(shared: Path) -> None:
    done = CliRunner().invoke(main, [str(shared / "data" / "gaze"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    held_out = next(row for row in found["device"] if row["role"] == "held out" and row["rate_hz"] == 200)
    assert held_out["fixation_f1"] > 0.7
    assert held_out["agreement"] > 0.75
    assert found["blinks"]["found"] == found["blinks"]["theirs"] == 3
    rows = {row["recording"]: row for row in found["behaviour"]}
    # An eye that follows makes few saccades; decodes are a small part of the samples.
    assert rows["pupil_core_smoothpursuit"]["share"]["saccade"] < 0.05
    assert all(row["decodes_s"] < 30 for row in rows.values())
