"""Exports of Tobii Pro Lab: a TSV file of the data export.

The format: Tobii Pro Lab's user manual, "Data export". Points are pixels (`MCS px`: of the scene video or
stimulus; `DACS px`: of the screen) or shares (`MCS norm`) from the top left; times are milliseconds or
microseconds since the start of the recording, which is that of its video. Columns have a unit in their names
only if that was asked for when exporting.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.samples import Rows
from sam_edge.streaming.gaze.recordings.text import Distinct, columns_of, flag, number, one_of, read_columns
from sam_edge.streaming.gaze.sample import GazeSample

WANTED = "export Recording timestamp, Gaze point X and Gaze point Y as TSV"
SYSTEMS = (" [mcs px]", " [mcs norm]", " (mcspx)", " (mcsnorm)", " [dacs px]", " (dacspx)", "")
"""What follows "Gaze point X" in a column's name, the coordinate system of the scene video first."""
GLASSES_WH = (1920, 1080)
"""What the scene cameras of Tobii Pro Glasses 2 and 3 record."""
FASTEST_STEP_US = 200.0
"""A tracker's samples are 0.8 (1,200 Hz) to 33 ms (30 Hz) apart: a step of more than 200 is in microseconds."""


def read_tobii(name: str, *, repair: bool = False) -> list[GazeSample]:
    """Read an export of one recording. Confidence is 1 where the validity of an eye is Valid, else 0.

    Raises:
        InputError: it cannot be read, holds several recordings, or does not tell the size of the image.
    """
    path = Path(name)
    names = columns_of(path, WANTED)
    time = next((n for n in names if n.startswith("recording timestamp")), "recording timestamp")
    system = next((s for s in SYSTEMS if f"gaze point x{s}" in names and f"gaze point y{s}" in names), "")
    recordings = Distinct()
    columns: dict[str, Callable[[str], float]] = {
        time: number, f"gaze point x{system}": number, f"gaze point y{system}": number
    }  # fmt: skip
    valid = [n for n in ("validity left", "validity right") if n in names]
    size = _size_columns(names, system)
    columns |= dict.fromkeys(valid, flag) | dict.fromkeys(size, number)
    columns |= {n: read for n, read in (("sensor", _is_tracker), ("recording name", recordings)) if n in names}
    at = {n: index for index, n in enumerate(columns)}
    lines, table = array("q"), array("d")
    wh: tuple[float, float] | None = None
    for line, values in read_columns(path, columns, WANTED):
        eyes = [values[at[n]] for n in valid]
        # The other rows are events, and samples of the mouse or the gyroscope.
        if not values[at["sensor"]] if "sensor" in at else eyes and all(map(math.isnan, eyes)):
            continue
        if size and wh is None and all(values[at[n]] > 0 for n in size):
            wh = (values[at[size[0]]], values[at[size[1]]])
        lines.append(line)
        table.extend((*values[:3], 1.0 if not eyes or 1.0 in eyes else 0.0))
    one_of(path, "recordings", list(recordings.texts))
    rows, per_s = Rows(), _per_s(time, np.array(table[::4]))
    for index, line in enumerate(lines):
        t, x, y, confidence = table[4 * index : 4 * index + 4]
        rows.add(line, t, per_s, x, y, confidence)
    return rows.samples(path, size=_size(path, system, wh), repair=repair)


def _is_tracker(cell: str) -> float:
    return cell.strip().lower() == "eye tracker"


def _size_columns(names: Sequence[str], system: str) -> list[str]:
    """The columns with width and height of what the points lie on; none where they are not exported."""
    kinds = ["recording resolution"] if "dacs" in system else ["recording media", "presented media"]
    for kind in [*kinds, "recording resolution"]:
        found = [next((n for n in names if n.startswith(f"{kind} {side}")), "") for side in ("width", "height")]
        if all(found):
            return found
    return []


def _size(path: Path, system: str, wh: tuple[float, float] | None) -> tuple[float, float]:
    if "norm" in system:
        return (1.0, 1.0)
    if wh is None and "mcs" in system:
        return GLASSES_WH
    if wh is None:
        raise InputError(
            f"{path} does not tell the size of the image",
            path=path,
            hint="export Recording media width and height, or Recording resolution width and height, too",
        )
    return wh


def _per_s(name: str, times: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """How many of the unit of the times make a second: as their name says, else as the tracker's rate tells."""
    if "[ms]" in name:
        return 10**3
    if "s]" in name:
        return 10**6
    steps = np.diff(times[np.isfinite(times)])
    return 10**6 if len(steps) and np.median(steps) > FASTEST_STEP_US else 10**3
