"""Exports of Pupil Core: `gaze_positions.csv` of Pupil Player's raw data exporter.

The format: docs.pupil-labs.com/core/software/pupil-player. `norm_pos_x` and `norm_pos_y` span the image of the
world camera from its bottom left corner, times are seconds of Pupil's own clock. `world_timestamps.csv`, beside
the file, says when the frames of the exported world video were taken.
"""

from __future__ import annotations

from pathlib import Path

from sam_edge.streaming.gaze.recordings.samples import Rows, first_time_ns
from sam_edge.streaming.gaze.recordings.text import number, read_columns
from sam_edge.streaming.gaze.sample import GazeSample

WANTED = "give gaze_positions.csv as Pupil Player exports it"
COLUMNS = {"gaze_timestamp": number, "norm_pos_x": number, "norm_pos_y": number, "confidence": number}


def read_core(name: str, *, repair: bool = False) -> list[GazeSample]:
    """Read gaze_positions.csv.

    With world_timestamps.csv beside the file times count from the first frame of the world video, which is then
    known for sure; without it they are on Pupil's clock, which begins anywhere.

    Raises:
        InputError: it cannot be read.
    """
    path, rows = Path(name), Rows()
    for line, (t_s, x, y, confidence) in read_columns(path, COLUMNS, WANTED):
        rows.add(line, t_s, 1, x, y, confidence)
    start = first_time_ns(path.parent / "world_timestamps.csv", "# timestamps [seconds]", 1)
    return rows.samples(path, from_bottom=True, first_frame_ns=start, repair=repair)
