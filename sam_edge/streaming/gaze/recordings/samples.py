"""From the rows of a tool's export to sound samples."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import NoReturn

import numpy as np

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.text import read_columns, whole_number
from sam_edge.streaming.gaze.sample import GazeClock, GazeSample

MAX_TIME_NS = 1 << 62
"""146 years: beyond it a time is a mistake."""
MISSING = -(1 << 63)


class Rows:
    """Rows as they come: hours of gaze have millions, so plain arrays until they are sound."""

    def __init__(self) -> None:
        self._lines, self._times_ns, self._values = array("q"), array("q"), array("d")

    def add(self, line: int, t: float, per_s: int, x: float, y: float, confidence: float) -> None:
        """A row: its line, its time (NaN: there is none), how many of the time's unit make a second, the point
        in any unit (NaN: there is none), and the confidence."""
        self._lines.append(line)
        self._times_ns.append(_to_ns(t, per_s))
        self._values.extend((x, y, confidence))

    def check_any(self, path: str | Path) -> None:
        """Raise InputError if there is no row."""
        if not self._lines:
            raise InputError(f"{path} holds no gaze samples", path=path)

    def samples(
        self,
        path: str | Path,
        *,
        size: tuple[float, float] = (1.0, 1.0),
        from_bottom: bool = False,
        first_frame_ns: int | None = None,
        repair: bool = False,
    ) -> list[GazeSample]:
        """Make samples of the rows; a row without a point is a blink, as it is to the tools.

        Args:
            path: for errors.
            size: what the width and the height of the image are in the unit of the points.
            from_bottom: whether y counts from the image's bottom edge.
            first_frame_ns: when the video's first frame was taken, on the recording's clock; then times count
                from it.
            repair: put times in order, leave out rows without a time.

        Raises:
            InputError: no rows; or, unless `repair`, a row without a time or times that go back. Of rows with
            the same time the last counts, as tools round times.
        """
        self.check_any(path)
        times_ns = np.array(self._times_ns)
        table = np.array(self._values).reshape(-1, 3)
        if not repair:
            self._check(times_ns, path)
        order = np.argsort(times_ns, kind="stable")
        order = order[times_ns[order] != MISSING]
        last = np.append(np.diff(times_ns[order]) != 0, True)[: len(order)]
        order = order[last]
        if not len(order):
            raise InputError(f"{path} holds no gaze sample that has a time", path=path)
        with np.errstate(all="ignore"):
            points = table[order, :2] / size
        if from_bottom:
            points[:, 1] = 1 - points[:, 1]
        confidence = np.clip(np.nan_to_num(table[order, 2], nan=0.0), 0.0, 1.0)
        blink = ~np.isfinite(points).all(axis=1)
        points[blink], confidence[blink] = 0.0, 0.0
        clock: GazeClock = "video" if first_frame_ns is None else "first-frame"
        offset_ns = -(first_frame_ns or 0)
        return [
            GazeSample(t_ns + offset_ns, x, y, c, clock, offset_ns)
            for t_ns, (x, y), c in zip(
                times_ns[order].tolist(), points.tolist(), confidence.tolist(), strict=True
            )
        ]

    def _check(self, times_ns: np.ndarray[tuple[int], np.dtype[np.int64]], path: str | Path) -> None:
        def refuse(row: int, what: str, repaired: str) -> NoReturn:
            raise InputError(
                f"{path} line {self._lines[row]}: {what}", path=path, hint=f"add --gaze-repair to {repaired}"
            )

        if (times_ns == MISSING).any():
            refuse(int(np.argmax(times_ns == MISSING)), "there is no time", "leave this row out")
        back = np.diff(times_ns) < 0
        if back.any():
            refuse(int(np.argmax(back)) + 1, "time goes back", "put times in order")


def _to_ns(t: float, per_s: int) -> int:
    # Whole numbers stay whole: Unix times in nanoseconds are beyond the precision of a float.
    if isinstance(t, int):
        t_ns = t * (1_000_000_000 // per_s)
    elif math.isfinite(t):
        t_ns = round(t * 1e9 / per_s)
    else:
        return MISSING
    return t_ns if abs(t_ns) < MAX_TIME_NS else MISSING


def first_time_ns(path: Path, column: str, per_s: int) -> int | None:
    """The first time in a table of times, such as world_timestamps.csv, in nanoseconds; None without one.

    Raises:
        InputError: the file is there, and has no such column or no time.
    """
    if not path.is_file():
        return None
    wanted = f"the column {column}, one row for each frame of the video"
    rows = read_columns(path, {column: whole_number}, wanted)
    for _, (t,) in rows:
        t_ns = _to_ns(t, per_s)
        if t_ns != MISSING:
            return t_ns
    raise InputError(f"{path} has no time", path=path, hint=f"give {wanted}")
