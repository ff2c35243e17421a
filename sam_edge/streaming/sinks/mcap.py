"""Results as an MCAP recording, which Foxglove opens and from which a run can be repeated.

| channel | encoding, schema | log time | one for |
|---|---|---|---|
| `/camera` | protobuf, foxglove.CompressedImage | capture | a frame as JPEG, at most 30 a second |
| `/frames` | JSON | capture | a frame: `index`, times in ns, size, and whether `/camera` has it |
| `/gaze` | JSON | the sample's | a gaze sample, as it came: every field of `GazeSample` |
| `/results` | JSON | the sample's | a result: the line of a `.jsonl`, the exact mask as COCO run lengths |
| `/annotations` | protobuf, foxglove.ImageAnnotations | the sample's | part of a frame: outlines, gaze, ages |

Times are nanoseconds on the clock of the frames, those below 0 logged as 0; the JSON has them as they are.
Images are at most 1280 pixels long. Annotations are in their pixels, everything else is in those of the frame.

The metadata record `sam_edge` holds `format` (the version of this table), `sam_edge` (the package's version),
`frame_width`, `frame_height` and `fps`; `run` holds what `McapSink.describe` was told, such as the model's id.

A chunk is written at least every second, so what a crash leaves can be read up to there (`mcap recover`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

from sam_edge.errors import MissingExtraError, OutputError
from sam_edge.storage.files import atomic_path, os_errors_as_output_error
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.annotations import Annotator, timestamp
from sam_edge.streaming.sinks.jpegs import Jpegs
from sam_edge.streaming.sinks.jsonl import ResultLines
from sam_edge.streaming.sinks.room import check_room
from sam_edge.streaming.sources.source import Frame

FORMAT = "1"
CHUNK_NS = 1_000_000_000
"""So much of a recording a crash may lose."""


class McapSink:
    """Writes frames, gaze and results to an open MCAP file; `name` is what errors call it."""

    def __init__(self, file: RefusableFile, name: str, frame_wh: tuple[int, int], fps: float) -> None:
        import foxglove
        from foxglove import channels
        from foxglove.mcap import MCAPWriteOptions

        self._file = file
        self._name = name
        # Of its own: other recordings and servers of this process have other channels. Channels die with it.
        self._context = context = foxglove.Context()
        # Compressing in threads would take the cores from the masks.
        options = MCAPWriteOptions(compression_threads=0)
        self._writer: Any = foxglove.open_mcap(file, context=context, writer_options=options)
        self._camera = channels.CompressedImageChannel("/camera", context=context)
        self._annotations = channels.ImageAnnotationsChannel("/annotations", context=context)
        self._frames, self._gaze, self._results = (
            foxglove.Channel(topic, message_encoding="json", context=context)
            for topic in ("/frames", "/gaze", "/results")
        )
        self._line = ResultLines()
        self._annotator = Annotator()
        self._index: int | None = None
        self._written = 0
        self._flushed_ns = -(10**18)
        self._jpegs = Jpegs()
        facts = {"format": FORMAT, "sam_edge": version("sam-edge"), "fps": f"{fps:g}"}
        size = {"frame_width": str(frame_wh[0]), "frame_height": str(frame_wh[1])}
        self._writer.write_metadata("sam_edge", facts | size)

    def describe(self, run: Mapping[str, str]) -> None:
        """Keep facts about the run, such as the model's id and the settings as TOML."""
        self._writer.write_metadata("run", dict(run))

    def write(self, frame_result: FrameResult) -> None:
        frame = frame_result.frame
        check_room(self._file.path, self._name, self._written)
        if frame.index != self._index:
            self._index = frame.index
            self._write_frame(frame)
        for result in frame_result.results:
            log_time = max(0, result.t_ns)
            if result.gaze is not None:
                self._gaze.log(dataclasses.asdict(result.gaze), log_time=log_time)
            self._results.log(self._line(frame_result, result), log_time=log_time)
        if frame_result.results:
            annotations = self._annotator(frame_result.results, self._jpegs.scale, frame.capture_ns)
            self._annotations.log(annotations, log_time=max(0, frame_result.results[-1].t_ns))
        self._written += 1 + len(frame_result.results)
        if abs(frame.capture_ns - self._flushed_ns) >= CHUNK_NS:
            self._flushed_ns = frame.capture_ns
            self._writer.flush()
        self._check()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: it is not whole.
        """
        try:
            self._writer.close()
        except RuntimeError as error:
            self._check()
            raise OutputError(f"cannot write {self._name}: {error}") from error
        finally:
            for channel in (self._camera, self._annotations, self._frames, self._gaze, self._results):
                channel.close()
        self._check()

    def _check(self) -> None:
        # The writer prints what it could not write, and goes on.
        if self._file.error is not None:
            reason = self._file.error.strerror or str(self._file.error)
            raise OutputError(f"cannot write {self._name}: {reason}", hint="make room")

    def _write_frame(self, frame: Frame) -> None:
        from foxglove.messages import CompressedImage

        height, width = frame.image.shape[:2]
        log_time = max(0, frame.capture_ns)
        jpeg = self._jpegs(frame)
        if jpeg is not None:
            image = CompressedImage(
                timestamp=timestamp(frame.capture_ns), frame_id="camera", data=jpeg, format="jpeg"
            )
            self._camera.log(image, log_time=log_time)
        facts = {
            "index": frame.index,
            "capture_ns": frame.capture_ns,
            "receive_ns": frame.receive_ns,
            "offset_ns": frame.offset_ns,
            "width": width,
            "height": height,
            "stored": jpeg is not None,
        }
        self._frames.log(facts, log_time=log_time)


class RefusableFile:
    """A file that remembers why it could not be written: the writer keeps that to itself."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.error: OSError | None = None
        self._file = file

    def write(self, data: bytes | bytearray) -> int:
        return self._try(lambda: self._file.write(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._try(lambda: self._file.seek(offset, whence))

    def flush(self) -> None:
        """Nothing waits: the file is not buffered."""

    def _try(self, call: Callable[[], int]) -> int:
        try:
            return call()
        except OSError as error:
            self.error = self.error or error
            raise


@contextmanager
def mcap_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[McapSink]:
    """A sink writing the MCAP file `name`; whole however the block ends well.

    Raises:
        MissingExtraError: foxglove-sdk is not installed.
        OutputError: it cannot be written.
    """
    try:
        import foxglove  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("foxglove-sdk", "mcap") from error
    with atomic_path(name) as temporary:
        with os_errors_as_output_error(name):
            file = temporary.open("wb", buffering=0)
        with file:
            sink = McapSink(RefusableFile(temporary, file), name, frame_wh, fps)
            try:
                yield sink
            except BaseException:
                # The file goes: that it is not whole either is no news.
                with suppress(OutputError):
                    sink.close()
                raise
            sink.close()
