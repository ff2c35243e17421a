"""Results as JSON, one line a gaze sample."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from sam_edge.errors import OutputError
from sam_edge.imaging.coco import describe
from sam_edge.storage.files import STANDARD_OUTPUT, atomic_path, naming
from sam_edge.streaming.offline import Look, Step


class JsonlSink:
    """Writes one JSON object a gaze sample to an open text file; `name` is what errors call it."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name

    def write(self, step: Step) -> None:
        lines = [json.dumps(_line(step, look), separators=(",", ":")) + "\n" for look in step.looks]
        try:
            self._file.writelines(lines)
            # Whoever reads the other end of a pipe acts on the newest line.
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write {self._name}: {error.strerror}; make room") from error


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
                with naming(name):
                    file.close()
    elif sys.stdout is None:
        raise OutputError("standard output is closed: give a file ending in .jsonl")
    else:
        yield JsonlSink(sys.stdout, "standard output")


def _line(step: Step, look: Look) -> dict[str, Any]:
    return {
        "t_ms": round(look.gaze.t_ns / 1e6, 3),
        "x_px": round(look.x_px, 2),
        "y_px": round(look.y_px, 2),
        "confidence": look.gaze.confidence,
        "status": look.status,
        "frame": step.frame.index,
        "frame_age_ms": round(look.frame_age_ms, 3),
        "encode_ms": round(step.encode_ms, 3),
        "decode_ms": round(look.decode_ms, 3),
        "mask": describe(look.masks)[0] if look.masks else None,
    }
