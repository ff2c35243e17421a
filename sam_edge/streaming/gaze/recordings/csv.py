"""Gaze recordings as CSV: what Python, Excel and the exports of eye trackers write."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.text import (
    FLAGS,
    SEPARATORS,
    names_of,
    number,
    open_text,
    read_header,
    rows_of,
)
from sam_edge.streaming.gaze.sample import GazeSample

COLUMNS = ("t_s", "x_norm", "y_norm")
"""What a recording must have; `confidence` is taken where it is there."""
WANTED = (
    "give t_s (seconds), x_norm and y_norm (0 to 1 from the top left of the image) and, if known, confidence"
)
MAX_POSITION = 5.0
"""Nobody looks five images aside for half of a recording."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a file, as far as they are numbers."""

    table: NDArray[np.float64]
    """(n, 4): t_s, x_norm, y_norm, confidence. NaN: not a number. Infinite: out of range."""
    lines: array[int]
    """(n,): the line of each row, counted from 1."""


def read_gaze_csv(path: str | Path, *, repair: bool = False) -> list[GazeSample]:
    """Read t_s (seconds), x_norm, y_norm (from the top left) and, where it is there, confidence (0 to 1).

    Times are those of the file. Names may be in upper case; columns may be separated by comma, semicolon, TAB
    or |, numbers may have a decimal comma; the text may be UTF-8 or UTF-16. A confidence column may hold Valid
    or Invalid in every row.

    Args:
        path: a file with a header line.
        repair: take what can be understood: rows with holes become blinks where they have a time and are
            left out where they have none, rows are put in the order of time, of rows with one time the last is
            kept.

    Raises:
        InputError: naming the column or line, unless `repair` settles it.
    """
    with open_text(path, WANTED) as text:
        rows = _read_rows(text, path)
    table = _repaired(rows.table) if repair else _checked(rows, path)
    _check_ranges(table, path)
    return [GazeSample(round(t * 1e9), x, y, c) for t, x, y, c in table.tolist()]


def _read_rows(text: TextIO, path: str | Path) -> _Rows:
    header, skipped = read_header(text)
    separator = max(SEPARATORS, key=lambda mark: (len(_found(names_of(header, mark))), header.count(mark)))
    names = names_of(header, separator)
    _check_header(header, names, separator, path)
    columns = [names.index(name) for name in COLUMNS]
    confidence = names.index("confidence") if "confidence" in names else None
    return _parse(rows_of(header, text, skipped, separator), len(names), columns, confidence, path)


def _found(names: Sequence[str]) -> list[str]:
    return [name for name in (*COLUMNS, "confidence") if name in names]


def _check_header(header: str, names: Sequence[str], separator: str, path: str | Path) -> None:
    """Raise InputError unless every column of ours stands in the header once."""
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        if not header.strip():
            raise InputError(f"{path} holds no gaze samples", path=path, hint=WANTED)
        mark = "TAB" if separator == "\t" else separator
        found = ", ".join(repr(name) for name in names[:12])
        raise InputError(
            f"{path} has no column {', '.join(missing)}; with the separator {mark} it has {found[:200]}",
            path=path,
            hint=WANTED,
        )
    for name in _found(names):
        if names.count(name) > 1:
            raise InputError(
                f"{path} has the column {name} {names.count(name)} times", path=path, hint="keep one"
            )


def _parse(
    rows: Iterator[tuple[int, list[str]]],
    width: int,
    columns: Sequence[int],
    confidence: int | None,
    path: str | Path,
) -> _Rows:
    """Make numbers of rows (line, cells) of `width` cells, of which `columns` and `confidence` are ours."""
    # Hours of gaze have millions of rows: plain arrays, no objects, until they are sound.
    lines, values, words = array("q"), array("d"), array("d")
    first: list[str] = []
    for line, row in rows:
        if any(row[width:]):
            raise InputError(
                f"{path} line {line} has {len(row)} values for {width} columns",
                path=path,
                hint="numbers with a decimal comma need another separator, such as ;",
            )
        first = first or row
        lines.append(line)
        values.extend(_number(row, column) for column in columns)
        values.append(1.0 if confidence is None else _number(row, confidence))
        if confidence is not None:
            words.append(FLAGS.get(row[confidence].strip().lower() if confidence < len(row) else "", -1.0))
    if not lines:
        raise InputError(
            f"{path} holds no gaze samples", path=path, hint="give a header line and one line a sample"
        )
    table = np.array(values).reshape(-1, 4)
    if words and min(words) >= 0:
        table[:, 3] = words
    # Repairing a column without numbers would make every sample a blink.
    for at, (name, column) in enumerate(zip((*COLUMNS, "confidence"), (*columns, confidence), strict=True)):
        if not np.isfinite(table[:, at]).any():
            cell = first[column] if column is not None and column < len(first) else ""
            raise InputError(
                f"{path}: the column {name} has no number that can be used; it begins with {cell[:40]!r}",
                path=path,
                hint="give numbers, or leave the column out" if name == "confidence" else "give numbers",
            )
    return _Rows(table, lines)


def _number(row: list[str], column: int) -> float:
    """The row's number in a column; NaN if it has none, infinite if it is out of range."""
    return number(row[column]) if column < len(row) else float("nan")


def _check_ranges(table: NDArray[np.float64], path: str | Path) -> None:
    """Raise InputError where positions or confidences cannot be what their columns say."""
    points, confidence = table[:, 1:3], table[:, 3]
    if np.median(np.abs(points)) > MAX_POSITION:
        raise InputError(
            f"{path}: x_norm and y_norm look like pixels",
            path=path,
            hint="divide them by the size of the image",
        )
    if confidence.min() < 0 or confidence.max() > 1:
        worst = confidence.max() if confidence.max() > 1 else confidence.min()
        raise InputError(f"{path}: a confidence is {worst:g}", path=path, hint="scale it to 0 to 1")


def _checked(rows: _Rows, path: str | Path) -> NDArray[np.float64]:
    """The table, if it has no holes and its times rise."""

    def refuse(row: int, what: str, fix: str, repaired: str) -> NoReturn:
        raise InputError(
            f"{path} line {rows.lines[row]}: {what}",
            path=path,
            hint=f"{fix}, or add --gaze-repair to {repaired}",
        )

    table = rows.table
    holes = np.argwhere(~np.isfinite(table))
    if len(holes):
        row, column = holes[0].tolist()
        name = (*COLUMNS, "confidence")[column]
        what = "is not a number" if np.isnan(table[row, column]) else "is out of range"
        refuse(
            row, f"{name} {what}", "correct it", "leave this row out" if name == "t_s" else "make it a blink"
        )
    steps = np.diff(table[:, 0])
    if (steps < 0).any():
        refuse(int(np.argmax(steps < 0)) + 1, "time goes back", "sort the file by t_s", "put times in order")
    if (steps == 0).any():
        refuse(
            int(np.argmax(steps == 0)) + 1, "repeats the time of the line before", "drop one", "keep the later"
        )
    return table


def _repaired(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows with a time, in its order, one a time, holes as samples of confidence 0."""
    table = table[np.isfinite(table[:, 0])]
    # Reversed, so that of equal times the later row comes first and is the one `unique` keeps.
    table = table[::-1]
    table = table[np.unique(table[:, 0], return_index=True)[1]]
    holes = ~np.isfinite(table).all(axis=1)
    table[holes, 1:] = 0.0
    return table
