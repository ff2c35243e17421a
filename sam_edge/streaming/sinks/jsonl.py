"""Results as JSON, one line a gaze sample."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from sam_edge.errors import OutputError
from sam_edge.imaging.coco import describe
from sam_edge.storage.files import STANDARD_OUTPUT, atomic_path, os_errors_as_output_error
from sam_edge.streaming.offline import FrameResult, GazeResult


class JsonlSink:
    """Writes one JSON object a gaze sample to an open text file; `name` is what errors call it."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name

    def write(self, frame_result: FrameResult) -> None:
        lines = [
            json.dumps(_line(frame_result, result), separators=(",", ":")) + "\n"
            for result in frame_result.results
        ]
        try:
            self._file.writelines(lines)
            # Whoever reads the other end of a pipe acts on the newest line.
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write {self._name}: {error.strerror}", hint="make room") from error


@contextmanager
def jsonl_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[JsonlSink]:
    """A sink writing to the file `name`, or to standard output for `-`."""
    if name != STANDARD_OUTPUT:
        with atomic_path(name) as temporary:
            file = temporary.open("w", encoding="utf-8")
            try:
                yield JsonlSink(file, name)
            finally:
                # Closing writes what a full disk has refused once more.
                with os_errors_as_output_error(name):
                    file.close()
    elif sys.stdout is None:
        raise OutputError("standard output is closed", hint="give a file ending in .jsonl")
    else:
        yield JsonlSink(sys.stdout, "standard output")


def _line(frame_result: FrameResult, result: GazeResult) -> dict[str, Any]:
    return {
        "t_ms": round(result.gaze.t_ns / 1e6, 3),
        "x_px": round(result.x_px, 2),
        "y_px": round(result.y_px, 2),
        "confidence": result.gaze.confidence,
        "status": result.status,
        "frame": frame_result.frame.index,
        "frame_age_ms": round(result.frame_age_ms, 3),
        "encode_ms": round(frame_result.encode_ms, 3),
        "decode_ms": round(result.decode_ms, 3),
        "mask": describe(result.masks)[0] if result.masks else None,
    }
