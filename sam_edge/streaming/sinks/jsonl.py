"""Results as JSON, one line a gaze sample."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from sam_edge.errors import OutputError
from sam_edge.masks import Masks
from sam_edge.storage.files import STANDARD_OUTPUT, atomic_path, os_errors_as_output_error
from sam_edge.streaming.result import FrameResult, Result


class ResultLines:
    """Makes a JSON object of each result. Results that share a mask share its description."""

    def __init__(self) -> None:
        self._described: tuple[Masks, dict[str, Any]] | None = None

    def __call__(self, frame_result: FrameResult, result: Result) -> dict[str, Any]:
        """What JSON takes, by names that say the unit."""
        gaze, encode_ms = result.gaze, frame_result.encode_ms
        line: dict[str, Any] = {"t_ms": round(result.t_ns / 1e6, 3)}
        if gaze is not None:
            line |= {
                "gaze_clock": gaze.clock,
                "gaze_offset_s": gaze.offset_ns / 1e9,
                "confidence": gaze.confidence,
            }
        if result.object_id is not None:
            line["object_id"] = result.object_id
        return line | {
            "x_px": round(result.x_px, 2),
            "y_px": round(result.y_px, 2),
            "status": result.status,
            "freshness": result.freshness,
            "frame": frame_result.frame.index,
            "gaze_age_ms": round(result.gaze_age_ms, 3),
            "frame_age_ms": round(result.frame_age_ms, 3),
            "embedding_age_ms": round(result.embedding_age_ms, 3),
            "encode_ms": None if encode_ms is None else round(encode_ms, 3),
            "decode_ms": round(result.decode_ms, 3),
            "stages_ms": {name: round(value, 3) for name, value in result.stages_ms.items()},
            "reused": result.reused,
            "mask": None if result.masks is None else self._describe(result.masks),
        }

    def _describe(self, masks: Masks) -> dict[str, Any]:
        # The run lengths of a large mask take longer than the decoder.
        if self._described is None or self._described[0] is not masks:
            self._described = masks, masks.to_coco()[0]
        return self._described[1]


class JsonlSink:
    """Writes one JSON object a gaze sample to an open text file; `name` is what errors call it."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._line = ResultLines()

    def write(self, frame_result: FrameResult) -> None:
        lines = [
            json.dumps(self._line(frame_result, result), separators=(",", ":")) + "\n"
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
        try:
            yield JsonlSink(sys.stdout, "standard output")
        finally:
            _drop_unread(sys.stdout)


def _drop_unread(stream: TextIO) -> None:
    """Throw away what a reader that left has not taken: Python would try to write it again when it ends."""
    try:
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
