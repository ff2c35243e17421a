"""Exports of Pupil Core: y from the bottom, times of Pupil's clock."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.clock import choose_clock, to_frame_clock
from sam_edge.streaming.gaze.recordings.core import read_core
from sam_edge.streaming.gaze.recordings.csv import read_gaze_csv
from sam_edge.streaming.sources.source import SourceInfo

HEADER = "gaze_timestamp,world_index,confidence,norm_pos_x,norm_pos_y,base_data,gaze_point_3d_x\n"
VIDEO = SourceInfo((1280, 720), 30.0, 300)


def export(folder: Path, *rows: tuple[float, float, float, float]) -> str:
    lines = "".join(f"{t!r},5,{c},{x},{y},{t}-0 {t}-1,\n" for t, x, y, c in rows)
    (folder / "gaze_positions.csv").write_text(HEADER + lines)
    return str(folder / "gaze_positions.csv")


def test_y_counts_from_the_bottom(tmp_path: Path) -> None:
    name = export(tmp_path, (329367.5, 0.25, 0.75, 0.9), (329367.75, 0.5, 1.5, 1.0))
    assert [(s.t_ns, s.x_norm, s.y_norm, s.confidence) for s in read_core(name)] == [
        (329_367_500_000_000, 0.25, 0.25, 0.9),
        (329_367_750_000_000, 0.5, -0.5, 1.0),
    ]


def test_world_timestamps_are_the_zero_of_the_video(tmp_path: Path) -> None:
    name = export(tmp_path, (329367.5, 0.5, 0.5, 1.0))
    assert choose_clock(read_core(name), VIDEO).clock == "first-sample"
    (tmp_path / "world_timestamps.csv").write_text("# timestamps [seconds],pts\n329367.25,0\n329367.283,3003\n")
    samples = read_core(name)
    mapping = choose_clock(samples, VIDEO)
    assert mapping.clock == "first-frame"
    assert to_frame_clock(samples, mapping)[0].t_ns == 250_000_000


def test_a_column_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "gaze_positions.csv").write_text("gaze_timestamp,norm_pos_x,norm_pos_y\n1,0,0\n")
    with pytest.raises(InputError, match="no column confidence"):
        read_core(str(tmp_path / "gaze_positions.csv"))


@pytest.mark.shared
def test_real_fixations_lie_where_player_says(shared: Path, tmp_path: Path) -> None:
    """Player's own export of fixations, with raw times and y from the bottom, against the samples we read."""
    folder = shared / "data" / "gaze"
    csv.field_size_limit(1 << 20)
    with (folder / "pupil_core_tutorial10_fixations_raw.csv").open() as file:
        fixations = list(csv.DictReader(file))
    zero_s = float(fixations[0]["start_timestamp"])
    given = read_gaze_csv(folder / "pupil_core_tutorial10.csv")
    rows = [(zero_s + s.t_ns / 1e9, s.x_norm, 1 - s.y_norm, s.confidence) for s in given]
    read = read_core(export(tmp_path, *rows))
    times_s = np.array([s.t_ns for s in read]) / 1e9
    points = np.array([(s.x_norm, s.y_norm) for s in read])
    misses = []
    for fixation in fixations:
        start_s = float(fixation["start_timestamp"])
        during = (times_s >= start_s) & (times_s <= start_s + float(fixation["duration"]) / 1e3)
        mean = (float(fixation["norm_pos_x"]), 1 - float(fixation["norm_pos_y"]))
        misses.append(np.abs(np.median(points[during], axis=0) - mean))
    # Player leaves samples of low confidence out.
    np.testing.assert_array_less(np.median(misses, axis=0), 0.005)
