"""Gaze samples, and reading them from a recording."""

from __future__ import annotations

import csv
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError

COLUMNS = ("t_s", "x_norm", "y_norm")
"""What a recording must have; `confidence` is taken where it is there."""
MAX_NUMBER = 1e20
"""Larger numbers are none: clocks count nanoseconds below it."""
MAX_STEP_S = 1.0
"""No eye tracker is slower; a larger step means milliseconds or nanoseconds."""
MAX_PART = 5.0
"""Nobody looks five images aside half of the time."""


@dataclass(frozen=True, slots=True)
class GazeSample:
    """Where an eye looks at one moment."""

    t_ns: int
    """Time since the first sample of the recording."""
    x_norm: float
    """Across the scene image, 0 at its left, 1 at its right edge; may leave that range."""
    y_norm: float
    """Down the scene image, 0 at its top, 1 at its bottom edge; may leave that range."""
    confidence: float = 1.0
    """0 (a blink, or the eye was not found) to 1."""

    def to_px(self, frame_wh: tuple[int, int]) -> tuple[float, float]:
        """The point in pixels of a frame (width, height)."""
        return self.x_norm * frame_wh[0], self.y_norm * frame_wh[1]


def read_gaze_csv(path: str | Path, *, repair: bool = False) -> list[GazeSample]:
    """Read columns t_s, x_norm, y_norm and, where it is there, confidence; times start at 0.

    Args:
        path: a CSV file with a header line.
        repair: take what can be understood: rows with holes become blinks where they have a time and are
            left out where they have none, rows are put in the order of time, of rows with one time the last is
            kept.

    Raises:
        InputError: naming the line, unless `repair` mends it.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines, table = _read_rows(csv.reader(file), path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} is no CSV file", path=path, hint=f"give one with the columns {', '.join(COLUMNS)}"
        ) from error
    table = _mended(table) if repair else _checked(table, lines, path)
    if not len(table):
        raise InputError(f"{path} has no row with a time", path=path, hint="give t_s in seconds")
    _check_units(table, path)
    start = table[0, 0]
    return [GazeSample(round((t - start) * 1e9), x, y, c) for t, x, y, c in table.tolist()]


def _read_rows(reader: Any, path: str | Path) -> tuple[array[int], NDArray[np.float64]]:
    """Line number of each row, and the rows as (n, 4): time, x, y, confidence; NaN where no number is."""
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}",
            path=path,
            hint=f"give {', '.join(COLUMNS)} and, if known, confidence",
        )
    columns = [header.index(name) for name in COLUMNS]
    confidence = header.index("confidence") if "confidence" in header else None
    # Hours of gaze have millions of rows: plain arrays, no objects, until they are sound.
    lines, values = array("q"), array("d")
    for row in reader:
        if row:
            lines.append(reader.line_num)
            values.extend(_number(row, column) for column in columns)
            values.append(1.0 if confidence is None else _number(row, confidence))
    if not lines:
        raise InputError(
            f"{path} holds no gaze samples", path=path, hint="give a header line and one line a sample"
        )
    return lines, np.array(values).reshape(-1, 4)


def _number(row: list[str], column: int) -> float:
    """The row's number in a column; NaN if it has none, or one that no recording can have."""
    try:
        value = float(row[column])
    except (ValueError, IndexError):
        return float("nan")
    return value if abs(value) < MAX_NUMBER else float("nan")


def _check_units(table: NDArray[np.float64], path: str | Path) -> None:
    """Raise InputError where numbers give away that they are of another unit."""
    times, points, confidence = table[:, 0], table[:, 1:3], table[:, 3]
    if len(times) > 1 and np.median(np.diff(times)) > MAX_STEP_S:
        raise InputError(
            f"{path}: half of the samples are more than {MAX_STEP_S:g} s apart",
            path=path,
            hint="give t_s in seconds",
        )
    if np.median(np.abs(points)) > MAX_PART:
        raise InputError(
            f"{path}: x_norm and y_norm look like pixels; divide them by the image's size", path=path
        )
    if confidence.min() < 0 or confidence.max() > 1:
        raise InputError(f"{path}: a confidence is outside 0 to 1", path=path, hint="scale it")


def _checked(table: NDArray[np.float64], lines: array[int], path: str | Path) -> NDArray[np.float64]:
    """The table, if it has no holes and its times rise."""

    def refuse(row: int, why: str, mended: str) -> NoReturn:
        raise InputError(f"{path} line {lines[row]}: {why}, or add --gaze-repair to {mended}", path=path)

    rows, columns = np.nonzero(np.isnan(table))
    if len(rows):
        name = (*COLUMNS, "confidence")[columns[0]]
        mended = "leave this row out" if name == "t_s" else "treat it as a blink"
        refuse(rows[0], f"{name} is no number; mend it", mended)
    steps = np.diff(table[:, 0])
    if (steps < 0).any():
        refuse(int(np.argmax(steps < 0)) + 1, "time goes back; sort the file by t_s", "put times in order")
    if (steps == 0).any():
        why = "repeats the time of the line before; drop one"
        refuse(int(np.argmax(steps == 0)) + 1, why, "keep the later one")
    return table


def _mended(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows with a time, in its order, one a time, holes as samples of confidence 0."""
    table = table[~np.isnan(table[:, 0])]
    # Reversed, so that of equal times the later row comes first and is the one `unique` keeps.
    table = table[::-1]
    table = table[np.unique(table[:, 0], return_index=True)[1]]
    holes = np.isnan(table).any(axis=1)
    table[holes, 1:] = 0.0
    return table
