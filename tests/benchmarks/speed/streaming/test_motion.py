"""The benchmark of camera motion, on small frames."""

from __future__ import annotations

import json

from click.testing import CliRunner

from sam_edge.benchmarks.speed.streaming.motion import main


def test_every_stage_is_timed_and_the_error_told() -> None:
    done = CliRunner().invoke(main, ["--size", "256x144", "--rounds", "2", "--seeds", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"all of a frame", "carry 1 of nano", "carry 3 of SAM"} <= set(found["ms"])
    assert all(0 < row["p50"] <= row["p99"] for row in found["ms"].values())
    steps, spans = found["error_px"]["frame to frame"], found["error_px"]["over half a second"]
    assert 0 < steps["median"] < spans["median"] < 5


def test_the_table_has_every_row() -> None:
    done = CliRunner().invoke(main, ["--size", "128x72", "--rounds", "1", "--seeds", "1"])
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 12
