"""Tables of text: what Python, spreadsheets and the exports of eye trackers write."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

from sam_edge.errors import InputError

SEPARATORS = ",;\t|"
MAX_HEADER = 1 << 16
MAX_NUMBER = 1e20
"""Larger numbers are out of range: clocks that count nanoseconds stay below it."""
FLAGS = {"valid": 1.0, "invalid": 0.0, "true": 1.0, "false": 0.0}
"""Words that say whether a sample is sound, in lower case."""


@contextmanager
def open_text(path: str | Path, wanted: str) -> Iterator[TextIO]:
    """A text in UTF-8 or UTF-16, with a mark or without; bytes that are neither are replaced.

    Args:
        path: a file, or a pipe.
        wanted: what to give instead, for the hint.

    Raises:
        InputError: the file cannot be read, or is no table, in the block or before it.
    """
    try:
        with Path(path).open("rb") as file, _as_text(file) as text:
            yield text
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
    except (UnicodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file", path=path, hint=wanted) from error


def read_header(text: TextIO) -> tuple[str, int]:
    """The line of names, and how many lines stand before it.

    Raises:
        UnicodeError: the file is binary.
    """
    header, skipped = text.readline(MAX_HEADER), 0
    if header.lower().startswith("sep="):
        # Excel's hint to itself.
        header, skipped = text.readline(MAX_HEADER), 1
    if "\0" in header:
        raise UnicodeError("a zero byte in the first line")
    return header, skipped


def columns_of(path: str | Path, wanted: str) -> list[str]:
    """The names of a file's columns in lower case.

    Raises:
        InputError: the file cannot be read.
    """
    with open_text(path, wanted) as text:
        return names_of(read_header(text)[0])


def names_of(header: str, separator: str | None = None) -> list[str]:
    """The names of the columns in lower case; without a separator, the most frequent one separates."""
    separator = separator or max(SEPARATORS, key=header.count)
    return [name.strip().lower() for name in next(csv.reader([header], delimiter=separator), [])]


def rows_of(
    header: str, text: TextIO, skipped: int, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with its line, counted from 1 as an editor counts them."""
    separator = separator or max(SEPARATORS, key=header.count)
    reader = csv.reader(chain([header], text), delimiter=separator)
    next(reader)
    return ((reader.line_num + skipped, row) for row in reader if any(row))


def read_columns(
    path: str | Path, columns: Mapping[str, Callable[[str], float]], wanted: str
) -> Iterator[tuple[int, list[float]]]:
    """The line of each row and its values in `columns`, in their order.

    Args:
        path: the file.
        columns: name in lower case -> how to read a cell; a row that ends before the column has "" there.
        wanted: for the hint.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    with open_text(path, wanted) as text:
        header, skipped = read_header(text)
        names = names_of(header)
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}", path=path, hint=wanted)
        where = [(names.index(name), parse) for name, parse in columns.items()]
        for line, row in rows_of(header, text, skipped):
            yield line, [parse(row[at] if at < len(row) else "") for at, parse in where]


def number(cell: str) -> float:
    """The number in a cell; NaN if there is none, infinite if it is out of range."""
    try:
        # A decimal comma. Two of them, or a point as well, group thousands: those are not guessed.
        value = float(cell.replace(",", ".") if "," in cell and "." not in cell else cell)
    except ValueError:
        return float("nan")
    return value if not abs(value) >= MAX_NUMBER else float("inf")


def flag(cell: str) -> float:
    """1 or 0 of yes or no, as a number or a word; NaN if it is neither."""
    return FLAGS.get(cell.strip().lower(), number(cell))


def whole_number(cell: str) -> float:
    """An exact whole number, which a float would round; NaN if there is none."""
    try:
        return int(cell)
    except ValueError:
        return number(cell)


class Distinct:
    """Numbers the different texts of a column, from 0."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def __call__(self, cell: str) -> float:
        return self.texts.setdefault(cell.strip(), len(self.texts))


def one_of(path: str | Path, what: str, texts: Sequence[str]) -> None:
    """Raise InputError if a file holds several recordings."""
    if len(texts) > 1:
        shown = ", ".join(text[:40] for text in texts[:3])
        raise InputError(
            f"{path} holds {len(texts)} {what} ({shown}{', ...' if len(texts) > 3 else ''})",
            path=path,
            hint="export one recording at a time",
        )


def _encoding(head: bytes) -> str:
    """The encoding of a text that begins so; Tobii and Excel write UTF-16, with a mark or without."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = head[:32:2], head[1:32:2]
    if odd and not any(odd) and all(even):
        return "utf-16-le"
    if odd and not any(even) and all(odd):
        return "utf-16-be"
    return "utf-8-sig"


def _as_text(file: io.BufferedReader) -> io.TextIOWrapper:
    # Peeking leaves the bytes where they are, so that a pipe can be read too.
    return io.TextIOWrapper(file, encoding=_encoding(file.peek(64)), errors="replace", newline="")
