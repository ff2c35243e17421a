"""A recorded run as an MCAP file.

| channel | encoding, schema | log time | one for |
|---|---|---|---|
| `/camera` | protobuf, foxglove.CompressedImage | capture | a frame that was looked at, as PNG or JPEG, whole |
| `/frames` | JSON | capture | the same frame: `index`, times in ns, size |
| `/gaze` | JSON | the sample's | a gaze sample as it came, used or not: every field of `GazeSample` |
| `/boxes` | JSON | arrival | what an object tracker said at one time: every field of each `TrackedBox` |
| `/turns` | JSON | the clock's | a turn (`journal.py`), numbered; the pixels of its frame stand before it |
| `/results` | JSON | the sample's | a result: the line of a `.jsonl`, and its `digest` (`digest.py`) |

The metadata records `sam_edge` and `run` hold what `SessionFacts` says. Apart from `/turns`, `/boxes` and what
`/gaze` has of samples that nobody answered, the channels are those of `sinks/mcap.py`.

A chunk is written at least every second, so what a crash leaves can be repeated up to there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sam_edge.errors import InputError, MissingExtraError, OutputError
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import atomic_path, os_errors_as_output_error
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.digest import digest
from sam_edge.streaming.session.facts import SessionFacts
from sam_edge.streaming.session.images import Frames, to_file
from sam_edge.streaming.session.journal import Turn
from sam_edge.streaming.session.recorder import Recorder
from sam_edge.streaming.sinks.annotations import timestamp
from sam_edge.streaming.sinks.jsonl import ResultLines
from sam_edge.streaming.sinks.mcap import CHUNK_NS, RefusableFile
from sam_edge.streaming.sinks.room import check_room
from sam_edge.streaming.sources.options import split_options
from sam_edge.streaming.sources.source import Frame, SourceInfo


class SessionFile:
    """Writes turns and results to an open MCAP file; `name` is what errors call it."""

    def __init__(self, file: RefusableFile, name: str, facts: SessionFacts) -> None:
        import foxglove
        from foxglove import channels
        from foxglove.mcap import MCAPWriteOptions

        self.turns = 0
        """How many were written."""
        self._file, self._name, self._facts = file, name, facts
        self._context = context = foxglove.Context()
        # Images are compressed already.
        options = MCAPWriteOptions(compression=None)
        self._writer: Any = foxglove.open_mcap(file, context=context, writer_options=options)
        self._camera = channels.CompressedImageChannel("/camera", context=context)
        self._frames, self._gaze, self._boxes, self._turns, self._results = (
            foxglove.Channel(topic, message_encoding="json", context=context)
            for topic in ("/frames", "/gaze", "/boxes", "/turns", "/results")
        )
        self._line = ResultLines()
        self._now_ns = self._flushed_ns = 0
        for record, metadata in facts.records().items():
            self._writer.write_metadata(record, metadata)

    def turn(self, turn: Turn) -> None:
        check_room(self._file.path, self._name, self.turns)
        if turn.frame is not None:
            self._write_frame(turn.frame, turn.file)
        self._now_ns = max(0, *turn.times_ns, self._now_ns)
        written = turn.to_json(self.turns)
        if "gaze" in written:
            self._gaze.log(_json(written["gaze"]), log_time=max(0, written["gaze"]["t_ns"]))
        if "boxes" in written:
            self._boxes.log(_json({"boxes": written["boxes"]}), log_time=self._now_ns)
        self._turns.log(_json(written), log_time=self._now_ns)
        self.turns += 1
        if self._now_ns - self._flushed_ns >= CHUNK_NS:
            self._flushed_ns = self._now_ns
            self._writer.flush()
        self._check()

    def results(self, frame_result: FrameResult) -> None:
        check_room(self._file.path, self._name, self.turns)
        for result in frame_result.results:
            line = self._line(frame_result, result) | {"digest": digest(result)}
            self._results.log(_json(line), log_time=max(0, result.t_ns))
        self._check()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: it is not whole; what it holds can be read.
        """
        try:
            self._writer.close()
        except RuntimeError as error:
            self._check()
            raise OutputError(f"cannot write {self._name}: {error}") from error
        finally:
            for channel in (
                self._camera, self._frames, self._gaze, self._boxes, self._turns, self._results
            ):  # fmt: skip
                channel.close()
        self._check()

    def _write_frame(self, frame: Frame, file: bytes) -> None:
        from foxglove.messages import CompressedImage

        height, width = frame.image.shape[:2]
        log_time = max(0, frame.capture_ns)
        kind = self._facts.frames
        data = file or to_file(frame.image, kind)
        image = CompressedImage(
            timestamp=timestamp(frame.capture_ns), frame_id="camera", data=data, format=kind
        )
        self._camera.log(image, log_time=log_time)
        facts = {
            "index": frame.index,
            "capture_ns": frame.capture_ns,
            "receive_ns": frame.receive_ns,
            "offset_ns": frame.offset_ns,
            "width": width,
            "height": height,
            "stored": True,
        }
        self._frames.log(_json(facts), log_time=log_time)

    def _check(self) -> None:
        # The writer prints what it could not write, and goes on.
        if self._file.error is not None:
            reason = self._file.error.strerror or str(self._file.error)
            raise OutputError(f"cannot write {self._name}: {reason}", hint="make room")


@contextmanager
def session_file(name: str, facts: SessionFacts) -> Iterator[SessionFile]:
    """Write the recording `name`. What was written when the block ends is kept, if it is anything.

    Raises:
        OutputError: it cannot be written, or nothing was: an older file in its place stays.
        MissingExtraError: foxglove-sdk is not installed.
    """
    try:
        import foxglove  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("foxglove-sdk", "mcap") from error
    refusal: OutputError | None = None
    with atomic_path(name) as temporary:
        with os_errors_as_output_error(name):
            file = temporary.open("wb", buffering=0)
        with file:
            session = SessionFile(RefusableFile(temporary, file), name, facts)
            try:
                yield session
            finally:
                try:
                    session.close()
                except OutputError as error:
                    refusal = error
        if not session.turns:
            raise refusal or OutputError(f"{name} is not written: nothing happened")
    if refusal is not None:
        raise refusal


def open_recorder(name: str, segmenter: Segmenter, config: StreamConfig, info: SourceInfo) -> Recorder:
    """A recorder of a live run.

    Args:
        name: such as "session.mcap", or "session.mcap?frames=jpeg".
        segmenter: the model that will run.
        config: its thresholds and limits.
        info: the frames that will come.

    Raises:
        InputError: another suffix or another option.
        OutputError: it cannot be written.
        MissingExtraError: foxglove-sdk is not installed.
    """
    path, frames = split_record(name)
    facts = SessionFacts.of(segmenter, config, frames, info.frame_wh, info.fps)
    return Recorder(path, lambda: session_file(path, facts), frames)


def split_record(name: str) -> tuple[str, Frames]:
    """The file and how frames are kept of a name such as "session.mcap" or "session.mcap?frames=jpeg".

    Raises:
        InputError: another suffix or another option.
    """
    path, options = split_options(name, ("frames",))
    if not path.lower().endswith(".mcap"):
        raise InputError(f"cannot record to {path}", hint="end it in .mcap")
    frames = options.get("frames", "png")
    if frames == "png":
        return path, "png"
    if frames == "jpeg":
        return path, "jpeg"
    raise InputError(f"{name}: frames={frames} is no way to keep them", hint="give png or jpeg")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
