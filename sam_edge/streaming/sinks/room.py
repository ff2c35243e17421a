"""Room on the disk: a file ends while it can still be finished."""

from __future__ import annotations

import os
from pathlib import Path

from sam_edge.errors import OutputError
from sam_edge.streaming.sinks.sink import FullDiskError

MIN_FREE_BYTES = 4_000_000
"""What the index at the end of a short file needs, and some more."""
INDEX_BYTES = 64
"""What the index needs for each frame."""


def check_room(file: Path, name: str, frames: int) -> None:
    """Find out whether there is room for another frame and for finishing the file.

    Args:
        file: where it is written.
        name: what the user calls it.
        frames: how many it holds so far.

    Raises:
        FullDiskError: there is not; what it holds can be kept.
        OutputError: there is not, and it holds nothing: an older file in its place is worth more.
    """
    room = os.statvfs(file.parent)
    if room.f_bavail * room.f_frsize < MIN_FREE_BYTES + INDEX_BYTES * frames:
        refusal = f"cannot write {name}: the disk is full; make room"
        raise FullDiskError(refusal) if frames else OutputError(refusal)
