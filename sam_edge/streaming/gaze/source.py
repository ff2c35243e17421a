"""Gaze sources: one opener a kind, found by suffix or scheme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.openers import find_opener


class OpenGaze(Protocol):
    """Reads a recording."""

    def __call__(self, name: str, *, repair: bool = False) -> Sequence[GazeSample]:
        """All samples, at least one, in the order of time, with the times of the recording.

        Args:
            name: what the user gave.
            repair: take what can be understood instead of refusing a recording with faults.

        Raises:
            InputError: it cannot be read.
        """
        ...


# See `find_opener` for the keys. A new source is a new file and a line here.
GAZE_SOURCES: Mapping[str, str] = {
    ".csv": "sam_edge.streaming.gaze.csv:read_gaze_csv",
    "": "sam_edge.streaming.gaze.csv:read_gaze_csv",
}


def open_gaze(name: str, *, repair: bool = False) -> Sequence[GazeSample]:
    """Read a gaze recording by its name; see `OpenGaze`.

    Raises:
        InputError: no source opens such a name, or the recording cannot be read.
    """
    opener: OpenGaze | None = find_opener(name, GAZE_SOURCES)
    if opener is None:
        raise InputError(f"cannot tell how to read gaze from {name}", hint="give a CSV file")
    return opener(name, repair=repair)
