"""Where results go: one opener a kind of sink, found by the ending of its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from sam_edge.errors import InputError
from sam_edge.lazy import load
from sam_edge.streaming.follow import Step


class Sink(Protocol):
    """Takes every step in the order of time."""

    def write(self, step: Step) -> None:
        """Take one frame and what was looked at on it."""
        ...


class OpenSink(Protocol):
    """Makes a sink for frames of a size and rate; what it wrote is whole when the block ends."""

    def __call__(self, name: str, frame_wh: tuple[int, int], fps: float) -> AbstractContextManager[Sink]: ...


# Pattern of the name -> opener. The first that matches wins.
SINKS: Mapping[str, str] = {
    r".*\.(mp4|mkv|avi)$": "sam_edge.streaming.video_sink:video_sink",
    r".*\.jsonl$|-$": "sam_edge.streaming.jsonl_sink:jsonl_sink",
}


def find_sink(name: str) -> OpenSink:
    """The opener for an output's name: a video, JSON lines, or `-` for JSON lines on standard output.

    Raises:
        InputError: the ending says nothing known.
    """
    for pattern, where in SINKS.items():
        if re.match(pattern, name):
            opener: OpenSink = load(where)
            return opener
    raise InputError(f"cannot tell what to write to {name}: end it in .mp4, .mkv, .avi or .jsonl, or give -")
