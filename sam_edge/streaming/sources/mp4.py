"""What the header of an MP4 or MOV file says about time, and OpenCV does not pass on.

Boxes as in ISO/IEC 14496-12: `mvhd` (8.2.2) has the creation time, `elst` (8.6.6) a delay and a length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_HEADER_BYTES = 64_000_000
"""An hour of video has a header of a few megabytes; larger ones are not read."""
EPOCH_S = 2_082_844_800
"""Seconds from 1904, where QuickTime counts from, to 1970."""


@dataclass(frozen=True)
class Mp4Times:
    """Times in the header of a file."""

    created_unix_s: int | None
    """When the recording was made, in whole seconds of Unix time; None where it is not said."""
    delay_s: float
    """How long after the zero of the file's clock the video track begins."""
    shown_s: float | None
    """How much of the track is shown: phones trim without removing frames. None where it is not said."""


def read_mp4_times(file: BinaryIO) -> Mp4Times | None:
    """The times in the header; None for a file of another kind, or a damaged one."""
    try:
        moov = _find_moov(file)
        return None if moov is None else _times(moov)
    except (struct.error, ValueError, IndexError):
        return None


def _find_moov(file: BinaryIO) -> bytes | None:
    """The contents of the top-level box `moov`."""
    start = file.seek(0)
    if file.read(12)[4:8] not in (b"ftyp", b"moov", b"wide", b"free", b"skip", b"mdat"):
        return None
    while True:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return None
        size, kind = struct.unpack(">I4s", head[:8])
        content = 8
        if size == 1:
            size, content = struct.unpack(">Q", head[8:16])[0], 16
        if kind == b"moov" and content <= size <= MAX_HEADER_BYTES:
            file.seek(start + content)
            return file.read(size - content)
        if size < content:
            return None
        start += size


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and contents of each box in `data`."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8:
            return
        yield kind, data[start + 8 : start + size]
        start += size


def _times(moov: bytes) -> Mp4Times:
    created, timescale, delay_s, shown_s = 0, 1, 0.0, None
    for kind, box in _boxes(moov):
        if kind == b"mvhd":
            created, _, timescale = struct.unpack_from(">QQI" if box[0] == 1 else ">III", box, 4)
        if kind == b"trak" and b"vmhd" in box:
            edits = _edits(box)
            delay_s = sum(units for units, empty in edits[:1] if empty) / max(1, timescale)
            shown_s = sum(units for units, empty in edits if not empty) / max(1, timescale) or None
            break
    return Mp4Times(created - EPOCH_S if created > EPOCH_S else None, delay_s, shown_s)


def _edits(track: bytes) -> list[tuple[int, bool]]:
    """Length of each edit of a track, in units of the movie, and whether it shows nothing."""
    elst = dict(_boxes(dict(_boxes(track)).get(b"edts", b""))).get(b"elst")
    if elst is None:
        return []
    form = ">QqI" if elst[0] == 1 else ">IiI"
    edits = (
        struct.unpack_from(form, elst, 8 + index * struct.calcsize(form))
        for index in range(struct.unpack_from(">I", elst, 4)[0])
    )
    return [(duration, media_time == -1) for duration, media_time, _ in edits]
