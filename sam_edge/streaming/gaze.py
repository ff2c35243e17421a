"""Gaze samples, and reading them from a recording."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam_edge.errors import InputError

COLUMNS = ("t_s", "x_norm", "y_norm")
"""What a recording must have; `confidence` is taken where it is there."""
REPAIR = "or add --gaze-repair to treat it as a blink, put times in order and drop repeated ones"


@dataclass(frozen=True)
class GazeSample:
    """Where an eye looks at one moment."""

    t_ns: int
    """Time since the first sample of the recording."""
    x_norm: float
    """Across the scene picture, 0 at its left, 1 at its right edge; may leave that range."""
    y_norm: float
    """Down the scene picture, 0 at its top, 1 at its bottom edge; may leave that range."""
    confidence: float = 1.0
    """0 (a blink, or the eye was not found) to 1."""

    def to_px(self, frame_wh: tuple[int, int]) -> tuple[float, float]:
        """The point in pixels of a frame (width, height)."""
        return self.x_norm * frame_wh[0], self.y_norm * frame_wh[1]


def read_gaze_csv(path: str | Path, *, repair: bool = False) -> list[GazeSample]:
    """Read columns t_s, x_norm, y_norm and, where it is there, confidence; times start at 0.

    Args:
        path: a CSV file with a header line.
        repair: take what can be understood: rows with holes become blinks where they have a time, rows
            are put in the order of time, of rows with one time the last is kept.

    Raises:
        InputError: naming the line, unless `repair` mends it.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file: give one with the columns {', '.join(COLUMNS)}") from error
    if not rows:
        raise InputError(f"{path} holds no gaze samples: give a header line and one line a sample")
    missing = [name for name in COLUMNS if name not in rows[0]]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}: give {', '.join(COLUMNS)} and, if known, confidence"
        )
    table = np.array([_row(row) for row in rows])
    table = _mended(table) if repair else _checked(table, path)
    if not len(table):
        raise InputError(f"{path} has no row with a time: give t_s in seconds")
    start = table[0, 0]
    return [GazeSample(round((t - start) * 1e9), x, y, c) for t, x, y, c in table.tolist()]


def _row(row: dict[str, str | None]) -> tuple[float, float, float, float]:
    """Time, x, y and confidence of one line, NaN where a number is missing."""
    t, x, y = (_number(row[name]) for name in COLUMNS)
    return t, x, y, _number(row["confidence"]) if "confidence" in row else 1.0


def _number(text: str | None) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")


def _checked(table: np.ndarray, path: str | Path) -> np.ndarray:
    """The table, if it has no holes and its times rise."""
    rows, columns = np.nonzero(np.isnan(table))
    if len(rows):
        name = (*COLUMNS, "confidence")[columns[0]]
        raise InputError(f"{path} line {rows[0] + 2}: {name} is no number; mend it, {REPAIR}")
    steps = np.diff(table[:, 0])
    if (steps < 0).any():
        line = int(np.argmax(steps < 0)) + 3
        raise InputError(f"{path} line {line}: time goes back; sort the file by t_s, {REPAIR}")
    if (steps == 0).any():
        line = int(np.argmax(steps == 0)) + 3
        raise InputError(f"{path} line {line}: repeats the time of the line before; drop one, {REPAIR}")
    return table


def _mended(table: np.ndarray) -> np.ndarray:
    """Rows with a time, in its order, one a time, holes as samples of confidence 0."""
    table = table[~np.isnan(table[:, 0])]
    # Reversed, so that of equal times the later row comes first and is the one `unique` keeps.
    table = table[::-1]
    table = table[np.unique(table[:, 0], return_index=True)[1]]
    holes = np.isnan(table).any(axis=1)
    table[holes, 1:] = 0.0
    return table
