"""Results for Rerun's viewer: into a file, or into a viewer that runs now.

| entity | what |
|---|---|
| `camera` | the frame as JPEG, at most 30 a second and 1280 pixels long |
| `camera/mask` | SegmentationImage in the same pixels: 0 nothing, 1 fresh, 2 carried, 3 stale |
| `camera/gaze` | Points2D |
| `ages/gaze`, `ages/frame`, `ages/pixels` | Scalars, milliseconds |
| `stages/NAME`, `stages/encode` | Scalars, milliseconds |

The timeline `camera` has the frames' own times; `frame` counts them. The library sends nothing anywhere; its
viewer sends usage statistics, and one that is started here is told not to.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError, MissingExtraError, OutputError
from sam_edge.storage.files import atomic_path
from sam_edge.streaming.result import FrameResult, Freshness, Result
from sam_edge.streaming.sinks.jpegs import Jpegs
from sam_edge.streaming.sinks.overlay import CLOSED_RGB, FRESHNESS_RGB, GAZE_RGB
from sam_edge.streaming.sinks.room import check_room

LABELS: dict[Freshness, int] = {"fresh": 1, "carried": 2, "stale": 3}
NEW_VIEWER = ("127.0.0.1", 9876)
FLUSH_S = 5.0
"""How long what is on its way may take at the end."""
REACH_S, START_S, POLL_S = 2.0, 20.0, 0.2
"""How long a viewer's host may take to answer, and a new viewer to start; how often to look."""


class RerunSink:
    """Logs to a recording stream of Rerun's SDK; `file` is where that writes, if it does."""

    def __init__(self, stream: Any, name: str, file: Path | None = None) -> None:
        self._rerun: Any = _library()
        self._stream = stream
        self._name = name
        self._file = file
        self._jpegs = Jpegs()
        self._index: int | None = None
        self._written = 0
        self._masked = False
        classes = [(LABELS[freshness], freshness, rgb) for freshness, rgb in FRESHNESS_RGB.items()]
        stream.log("camera", self._rerun.AnnotationContext(classes), static=True)

    def write(self, frame_result: FrameResult) -> None:
        frame = frame_result.frame
        if self._file is not None:
            check_room(self._file, self._name, self._written)
        self._stream.set_time("frame", sequence=frame.index)
        if frame.index != self._index:
            self._index = frame.index
            self._at(frame.capture_ns)
            jpeg = self._jpegs(frame)
            if jpeg is not None:
                image = self._rerun.EncodedImage(contents=jpeg, media_type="image/jpeg")
                self._stream.log("camera", image)
            if frame_result.encode_ms is not None:
                self._scalar("stages/encode", frame_result.encode_ms)
        for result in frame_result.results:
            self._at(result.t_ns)
            self._write_result(result)
        if frame_result.results:
            self._write_masks(frame_result.results)
        self._written += 1 + len(frame_result.results)

    def _write_result(self, result: Result) -> None:
        place = (result.x_px * self._jpegs.scale, result.y_px * self._jpegs.scale)
        colour = CLOSED_RGB if result.status == "no_gaze" else GAZE_RGB
        self._stream.log("camera/gaze", self._rerun.Points2D([place], radii=[5.0], colors=[colour]))
        if result.masks is None:
            return
        self._scalar("ages/gaze", result.gaze_age_ms)
        self._scalar("ages/frame", result.frame_age_ms)
        self._scalar("ages/pixels", result.embedding_age_ms)
        for stage, duration_ms in result.stages_ms.items():
            self._scalar(f"stages/{stage}", duration_ms)

    def _write_masks(self, results: tuple[Result, ...]) -> None:
        """The newest masks of all objects as one image; nothing where there is none any more."""
        masked = {result.object_id: result for result in results if result.masks is not None}
        labels = label_image(list(masked.values()), self._jpegs.scale)
        if labels is not None:
            self._stream.log("camera/mask", self._rerun.SegmentationImage(labels))
        elif self._masked:
            self._stream.log("camera/mask", self._rerun.Clear(recursive=False))
        self._masked = labels is not None

    def _scalar(self, entity: str, value: float) -> None:
        self._stream.log(entity, self._rerun.Scalars([value]))

    def _at(self, t_ns: int) -> None:
        self._stream.set_time("camera", duration=np.timedelta64(t_ns, "ns"))


def label_image(results: list[Result], scale: float) -> NDArray[np.uint8] | None:
    """Masks as one image (H, W) of labels, scaled down; None where there are none."""
    labels: NDArray[np.uint8] | None = None
    for result in results:
        if result.masks is None:
            continue
        mask = result.masks.binary[0].view(np.uint8)
        if scale < 1:
            size = (round(mask.shape[1] * scale), round(mask.shape[0] * scale))
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
        if labels is None:
            labels = np.zeros(mask.shape, np.uint8)
        labels[mask != 0] = LABELS[result.freshness or "fresh"]
    return labels


@contextmanager
def rerun_file_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[RerunSink]:
    """A sink writing the file `name` for Rerun's viewer; whole however the block ends well.

    Raises:
        MissingExtraError: rerun-sdk is not installed.
        OutputError: it cannot be written.
    """
    rerun = _library()
    with atomic_path(name) as temporary:
        stream = rerun.RecordingStream("sam_edge")
        try:
            stream.save(str(temporary))
            yield RerunSink(stream, name, temporary)
            try:
                stream.flush(timeout_sec=FLUSH_S)
            except Exception as error:
                raise OutputError(f"cannot write {name}: {error}", hint="make room") from error
        finally:
            stream.disconnect()


@contextmanager
def rerun_viewer_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[RerunSink]:
    """A sink that shows results in a viewer: `rerun:` starts one, `rerun:HOST:PORT` uses one that runs.

    Raises:
        InputError: the address is none.
        MissingExtraError: rerun-sdk is not installed.
        OutputError: no viewer listens there, or none can be started.
    """
    rerun = _library()
    host, port = viewer_address(name)
    if name == "rerun:":
        _start_viewer(host, port)
    if not _listens(host, port):
        raise OutputError(f"no viewer listens at {host}:{port}", hint="start one: rerun")
    stream = rerun.RecordingStream("sam_edge")
    try:
        stream.connect_grpc(f"rerun+http://{host}:{port}/proxy")
        yield RerunSink(stream, name)
        # A viewer that was closed meanwhile is no failure.
        with suppress(Exception):
            stream.flush(timeout_sec=FLUSH_S)
    finally:
        stream.disconnect()


def viewer_address(name: str) -> tuple[str, int]:
    """Host and port of `rerun:HOST:PORT`, or of a new viewer for `rerun:`.

    Raises:
        InputError: it is no such address.
    """
    address = name.partition(":")[2]
    if not address:
        return NEW_VIEWER
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536 and "/" not in host):
        raise InputError(f"{name} is no viewer's address", hint="give rerun:HOST:PORT, or rerun: alone")
    return host, int(port)


def _start_viewer(host: str, port: int) -> None:
    """Start a viewer, unless one runs there, and wait until it listens. It outlives this process."""
    if _listens(host, port):
        return
    # Without --bind it would take data from the whole network. On CI it sends no usage statistics, and that is
    # the one switch that leaves the user's own settings alone.
    viewer = subprocess.Popen(
        [sys.executable, "-m", "rerun_cli", "--bind", host, "--port", str(port)],
        env=os.environ | {"CI": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = monotonic() + START_S
    while not _listens(host, port):
        with suppress(subprocess.TimeoutExpired):
            viewer.wait(POLL_S)
            raise OutputError("Rerun's viewer ended at once", hint="is there a screen? See rerun:HOST:PORT")
        if monotonic() > end:
            raise OutputError(f"Rerun's viewer does not listen after {START_S:.0f} seconds")


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=REACH_S):
            return True
    except OSError:
        return False


def _library() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise MissingExtraError("rerun-sdk", "rerun") from error
    return rerun
