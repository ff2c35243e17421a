"""Where results go: one opener a kind of sink, found by the ending of its name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sam_edge.errors import InputError
from sam_edge.lazy import import_object
from sam_edge.storage.files import STANDARD_OUTPUT
from sam_edge.streaming.offline import FrameResult


class FullDiskError(Exception):
    """The disk is nearly full, and what a sink has written so far can still be finished."""


class Sink(Protocol):
    """Takes every step in the order of time."""

    def write(self, frame_result: FrameResult) -> None:
        """Take a frame, or a part of one, and what was looked at on it.

        Raises:
            OutputError: it cannot be written.
            FullDiskError: this step has no room; the steps before it are kept if the run ends here.
            BrokenPipeError: nobody reads it any more.
        """
        ...


class OpenSink(Protocol):
    """Makes a sink for frames of a size and rate; what it wrote is whole when the block ends."""

    def __call__(self, name: str, frame_wh: tuple[int, int], fps: float) -> AbstractContextManager[Sink]: ...


# Suffix of the name -> opener.
SINKS: Mapping[str, str] = {
    ".mp4": "sam_edge.streaming.sinks.video:video_sink",
    ".mkv": "sam_edge.streaming.sinks.video:video_sink",
    ".avi": "sam_edge.streaming.sinks.video:video_sink",
    ".jsonl": "sam_edge.streaming.sinks.jsonl:jsonl_sink",
    STANDARD_OUTPUT: "sam_edge.streaming.sinks.jsonl:jsonl_sink",
}


def find_sink(name: str) -> OpenSink:
    """The opener for an output's name: a video, JSON lines, or `-` for JSON lines on standard output.

    Raises:
        InputError: the ending says nothing known.
    """
    suffix = name if name == STANDARD_OUTPUT else Path(name).suffix.lower()
    if suffix not in SINKS:
        known = ", ".join(ending for ending in SINKS if ending != STANDARD_OUTPUT)
        raise InputError(f"cannot tell what to write to {name}", hint=f"end it in one of {known}, or give -")
    loader: OpenSink = import_object(SINKS[suffix])
    return loader
