"""Recognising the files of eye trackers that are not read yet, and how their columns become ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GazeTool:
    """A tool's gaze file."""

    name: str
    columns: tuple[str, ...]
    """What the names of its columns begin with, in lower case; a file with all of them is the tool's."""
    mapping: str
    """How to compute t_s, x_norm, y_norm and confidence."""


# The exports' own documentation: docs.pupil-labs.com (Neon, Invisible, Core), Tobii Pro Lab's and SR Research
# Data Viewer's manuals.
TOOLS = (
    GazeTool(
        "Pupil Labs Neon or Invisible (gaze.csv)",
        ("timestamp [ns]", "gaze x [px]", "gaze y [px]"),
        "t_s = timestamp [ns] / 1e9, x_norm = gaze x [px] / image width, y_norm = gaze y [px] / image height, "
        "confidence = worn; subtract the first value of world_timestamps.csv from the times to get the video's",
    ),
    GazeTool(
        "Pupil Core (gaze_positions.csv)",
        ("gaze_timestamp", "norm_pos_x", "norm_pos_y"),
        "t_s = gaze_timestamp, x_norm = norm_pos_x, y_norm = 1 - norm_pos_y (which counts from the bottom), "
        "confidence = confidence; subtract the first value of world_timestamps.csv from the times to get the "
        "video's",
    ),
    GazeTool(
        "Tobii Pro Lab",
        ("recording timestamp", "gaze point x", "gaze point y"),
        "t_s = Recording timestamp in seconds (it is in ms or μs), x_norm = Gaze point X / image width, "
        "y_norm = Gaze point Y / image height, confidence = 1 where the validity is Valid, else 0",
    ),
    GazeTool(
        "Tobii Studio",
        ("recordingtimestamp", "gazepointx", "gazepointy"),
        "t_s = RecordingTimestamp / 1000, x_norm = GazePointX / image width, "
        "y_norm = GazePointY / image height",
    ),
    GazeTool(
        "EyeLink Data Viewer (sample report)",
        ("timestamp", "right_gaze_x", "right_gaze_y"),
        "t_s = TIMESTAMP / 1000, x_norm = RIGHT_GAZE_X / image width, y_norm = RIGHT_GAZE_Y / image height",
    ),
    GazeTool(
        "EyeLink Data Viewer (sample report)",
        ("timestamp", "left_gaze_x", "left_gaze_y"),
        "t_s = TIMESTAMP / 1000, x_norm = LEFT_GAZE_X / image width, y_norm = LEFT_GAZE_Y / image height",
    ),
)
EYELINK_ASC = GazeTool(
    "EyeLink (ASC)",
    (),
    "t_s = first number of a sample line / 1000, x_norm = second / image width, y_norm = third / image height",
)


def find_tool(first_line: str, names: Sequence[str]) -> GazeTool | None:
    """The tool that wrote a file with this first line and these column names; None if it is not known."""
    if first_line.startswith("** CONVERTED FROM"):
        return EYELINK_ASC
    lower = [name.lower() for name in names]
    for tool in TOOLS:
        if all(any(name.startswith(column) for name in lower) for column in tool.columns):
            return tool
    return None
