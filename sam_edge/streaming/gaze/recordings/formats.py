"""Which program wrote a recording: its header line tells, and finds what reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.errors import InputError
from sam_edge.lazy import import_object
from sam_edge.streaming.gaze.recordings.csv import WANTED, read_gaze_csv
from sam_edge.streaming.gaze.recordings.text import names_of, open_text, read_header
from sam_edge.streaming.gaze.sample import GazeSample

if TYPE_CHECKING:
    from sam_edge.streaming.gaze.source import OpenGaze


@dataclass(frozen=True)
class GazeFormat:
    """A program's gaze file."""

    name: str
    columns: tuple[str, ...]
    """What the names of its columns begin with, in lower case; a file with all of them is the program's."""
    reader: str | None = None
    """What opens it, "module:opener"; None where nothing does yet."""
    advice: str = ""
    """Without a reader: how to compute t_s, x_norm and y_norm."""


# A new format is a new file and an entry here. The exports' own documentation: docs.pupil-labs.com (Neon,
# Invisible, Core), Tobii Pro Lab's and SR Research Data Viewer's manuals.
FORMATS = (
    GazeFormat(
        "Pupil Labs Neon or Invisible",
        ("timestamp [ns]", "gaze x [px]", "gaze y [px]"),
        "sam_edge.streaming.gaze.recordings.neon:read_neon",
    ),
    GazeFormat(
        "Pupil Core",
        ("gaze_timestamp", "norm_pos_x", "norm_pos_y"),
        "sam_edge.streaming.gaze.recordings.core:read_core",
    ),
    GazeFormat(
        "Tobii Pro Lab",
        ("recording timestamp", "gaze point x", "gaze point y"),
        "sam_edge.streaming.gaze.recordings.tobii:read_tobii",
    ),
    GazeFormat(
        "Tobii Studio",
        ("recordingtimestamp", "gazepointx", "gazepointy"),
        advice="t_s = RecordingTimestamp / 1000, x_norm = GazePointX / image width, "
        "y_norm = GazePointY / image height",
    ),
    GazeFormat(
        "EyeLink Data Viewer (sample report)",
        ("timestamp", "right_gaze_x", "right_gaze_y"),
        advice="t_s = TIMESTAMP / 1000, x_norm = RIGHT_GAZE_X / image width, "
        "y_norm = RIGHT_GAZE_Y / image height",
    ),
    GazeFormat(
        "EyeLink Data Viewer (sample report)",
        ("timestamp", "left_gaze_x", "left_gaze_y"),
        advice="t_s = TIMESTAMP / 1000, x_norm = LEFT_GAZE_X / image width, "
        "y_norm = LEFT_GAZE_Y / image height",
    ),
)
EYELINK_ASC = GazeFormat(
    "EyeLink (ASC)",
    (),
    advice="t_s = first number of a sample line / 1000, x_norm = second / image width, "
    "y_norm = third / image height",
)
IN_FOLDER = ("gaze.csv", "gaze_positions.csv", "exports/*/gaze_positions.csv", "*.tsv")
"""Where a folder holds its gaze: an export of Neon or Invisible, of Pupil Player, a recording of Pupil Core
with its exports, an export of Tobii Pro Lab."""


def open_recording(name: str, *, repair: bool = False) -> Sequence[GazeSample]:
    """Read a table of any known format, or the one in a folder.

    Raises:
        InputError: it is of a format that is not read, or cannot be read; a folder has none, or several.
    """
    path = Path(name)
    if path.is_dir():
        path = _in_folder(path)
    # What comes through a pipe can be read only once.
    found = find_format(path) if path.is_file() else None
    if found is None:
        return read_gaze_csv(path, repair=repair)
    if found.reader is None:
        raise InputError(
            f"{path} is a file of {found.name}, which is not read yet",
            path=path,
            hint=f"write a CSV file with {found.advice}",
        )
    reader: OpenGaze = import_object(found.reader)
    return reader(str(path), repair=repair)


def find_format(path: Path) -> GazeFormat | None:
    """The format of a file with such a first line; None if it is not another program's.

    Raises:
        InputError: the file cannot be read.
    """
    with open_text(path, WANTED) as text:
        header, _ = read_header(text)
    if header.startswith("** CONVERTED FROM"):
        return EYELINK_ASC
    names = names_of(header)
    for known in FORMATS:
        if all(any(name.startswith(column) for name in names) for column in known.columns):
            return known
    return None


def _in_folder(folder: Path) -> Path:
    for pattern in IN_FOLDER:
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(str(path.relative_to(folder)) for path in found[:4])
            raise InputError(
                f"{folder} holds {len(found)} gaze recordings", path=folder, hint=f"name one of {shown}"
            )
    raise InputError(
        f"{folder} holds no gaze recording", path=folder, hint=f"looked for {', '.join(IN_FOLDER)}"
    )
