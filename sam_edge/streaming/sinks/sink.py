"""Where results go: one opener a kind of sink, found by the suffix of its name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from sam_edge.errors import InputError
from sam_edge.storage.files import STANDARD_OUTPUT
from sam_edge.streaming.openers import find_opener
from sam_edge.streaming.result import FrameResult


class FullDiskError(Exception):
    """The disk is nearly full, and what a sink has written so far can still be finished."""


class Sink(Protocol):
    """Takes the results of a run in the order of time."""

    def write(self, frame_result: FrameResult) -> None:
        """Take a frame, or a part of one, and what was looked at on it.

        Frames may be missing, and so may parts of a frame, the last one too: what a slow sink does not take
        in time is dropped on the way.

        Raises:
            OutputError: it cannot be written.
            FullDiskError: there is no room for this; what came before is kept if the run ends here.
            BrokenPipeError: nobody reads it any more.
        """
        ...


@runtime_checkable
class RunSink(Protocol):
    """A sink that keeps what is needed to repeat the run."""

    def describe(self, run: Mapping[str, str]) -> None:
        """Keep facts about the run, such as the model's id or the settings as TOML, by name."""
        ...


class OpenSink(Protocol):
    """Opens a sink."""

    def __call__(self, name: str, frame_wh: tuple[int, int], fps: float) -> AbstractContextManager[Sink]:
        """Open a sink for frames of a size (width, height) and a rate (frames per second).

        What it wrote is whole when the block ends.

        Raises:
            OutputError: it cannot be written.
        """
        ...


# See `find_opener` for the keys. A new sink is a new file and a line here.
SINKS: Mapping[str, str] = {
    ".mp4": "sam_edge.streaming.sinks.video:video_sink",
    ".mkv": "sam_edge.streaming.sinks.video:video_sink",
    ".avi": "sam_edge.streaming.sinks.video:video_sink",
    ".jsonl": "sam_edge.streaming.sinks.jsonl:jsonl_sink",
    ".mcap": "sam_edge.streaming.sinks.mcap:mcap_sink",
    ".rrd": "sam_edge.streaming.sinks.rerun:rerun_file_sink",
    "rerun:": "sam_edge.streaming.sinks.rerun:rerun_viewer_sink",
    "zenoh:": "sam_edge.streaming.sinks.zenoh:zenoh_sink",
    STANDARD_OUTPUT: "sam_edge.streaming.sinks.jsonl:jsonl_sink",
}


def find_sink(name: str) -> OpenSink:
    """The opener for an output's name: a file by its suffix, an address by its scheme, or `-` for JSON lines on
    standard output.

    Raises:
        InputError: there is no such sink; it says which there are.
    """
    opener: OpenSink | None = find_opener(name, SINKS)
    if opener is None:
        suffixes = ", ".join(key for key in SINKS if key.startswith("."))
        schemes = ", ".join(key for key in SINKS if key.endswith(":"))
        raise InputError(
            f"cannot tell what to write to {name}",
            hint=f"end it in one of {suffixes}, begin it with {schemes}, or give -",
        )
    return opener
