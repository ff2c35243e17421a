"""Exports of Pupil Labs Neon and Invisible: `gaze.csv` of Pupil Cloud or Neon Player.

The format: docs.pupil-labs.com/neon/data-collection/data-format. Points are pixels of the scene camera from its
top left corner, times are Unix nanoseconds of the phone. The files beside it tell the rest: `scene_camera.json`
which camera it was, `world_timestamps.csv` when the frames of the scene video were taken.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.samples import Rows, first_time_ns
from sam_edge.streaming.gaze.recordings.text import (
    Distinct,
    columns_of,
    flag,
    number,
    one_of,
    read_columns,
    whole_number,
)
from sam_edge.streaming.gaze.sample import GazeSample

CAMERAS = {(1600, 1200): 890.0, (1088, 1080): 766.0}
"""Image size of Neon's and of Invisible's scene camera -> its focal length in pixels, nearly."""
WANTED = "give gaze.csv as Pupil Cloud exports it"
TIME, X, Y, AZIMUTH = "timestamp [ns]", "gaze x [px]", "gaze y [px]", "azimuth [deg]"
OPTIONAL = {"worn": flag, "blink id": number, AZIMUTH: number}
MAX_JSON = 1 << 20
MAX_SEEN = 20_000
"""So many samples are plenty to tell two cameras apart."""


def read_neon(name: str, *, repair: bool = False) -> list[GazeSample]:
    """Read gaze.csv. Confidence is 0 in blinks and where the glasses are not worn, else 1.

    With world_timestamps.csv beside the file times count from the first frame of the scene video, which is then
    known for sure; without it they are Unix times.

    Raises:
        InputError: it cannot be read, holds several recordings, or does not tell which camera it was.
    """
    path, recordings = Path(name), Distinct()
    names = columns_of(path, WANTED)
    columns: dict[str, Callable[[str], float]] = {TIME: whole_number, X: number, Y: number}
    columns |= {column: parse for column, parse in OPTIONAL.items() if column in names}
    if "recording id" in names:
        columns["recording id"] = recordings
    at = {column: index for index, column in enumerate(columns)}
    rows, seen = Rows(), array("d")
    for line, values in read_columns(path, columns, WANTED):
        worn = values[at["worn"]] if "worn" in at else 1.0
        closed = "blink id" in at and not math.isnan(values[at["blink id"]])
        rows.add(line, values[0], 10**9, values[1], values[2], 0.0 if closed else worn)
        if AZIMUTH in at and len(seen) < 2 * MAX_SEEN:
            seen.extend((values[1], values[at[AZIMUTH]]))
    one_of(path, "recordings", [text for text in recordings.texts if text])
    rows.check_any(path)
    size = _told(path.parent / "scene_camera.json") or _seen(np.array(seen).reshape(-1, 2))
    if size is None:
        raise InputError(
            f"{path} does not tell whether Neon's or Invisible's camera it was",
            path=path,
            hint="put the export's scene_camera.json beside it",
        )
    start = first_time_ns(path.parent / "world_timestamps.csv", TIME, 10**9)
    return rows.samples(path, size=size, first_frame_ns=start, repair=repair)


def _told(path: Path) -> tuple[int, int] | None:
    """The image size of the camera whose matrix a scene_camera.json holds; None without such a file.

    Raises:
        InputError: it is there and cannot be understood.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            matrix = np.array(json.loads(file.read(MAX_JSON))["camera_matrix"], np.float64)
        centre = float(matrix[0, 2])
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise InputError(
            f"{path} has no camera matrix", path=path, hint="export it again, or remove it"
        ) from error
    return min(CAMERAS, key=lambda wh: abs(wh[0] / 2 - centre))


def _seen(points: NDArray[np.float64]) -> tuple[int, int] | None:
    """The image size of the camera that fits gaze best; None without gaze.

    An export says where each gaze ray goes in pixels and in degrees from the camera's axis, and the axis meets
    the middle of the image.

    Args:
        points: (n, 2): x in pixels, azimuth in degrees.
    """
    points = points[np.isfinite(points).all(axis=1) & (np.abs(points[:, 1]) < 80)]
    if not len(points):
        return None
    tangents = np.tan(np.radians(points[:, 1]))

    def misfit(wh: tuple[int, int]) -> float:
        return float(np.median(np.abs(wh[0] / 2 + CAMERAS[wh] * tangents - points[:, 0])))

    return min(CAMERAS, key=misfit)
