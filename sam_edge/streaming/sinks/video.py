"""Results as a video: the camera's image with mask, gaze, ages and durations drawn in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from sam_edge.errors import OutputError
from sam_edge.storage.files import atomic_path
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.overlay import draw_result
from sam_edge.streaming.sinks.sink import FullDiskError

# What every OpenCV wheel can write: H.264 is missing from them for its licence.
CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
HOLD_MS = 300.0
"""A mask stays in the image this long after its gaze sample, which bridges blinks and slow trackers."""
MIN_FREE_BYTES = 4_000_000
"""A video ends while it can still be finished: the index at its end needs room too."""


class VideoSink:
    """Draws each frame with the gaze samples of all its parts, and writes it."""

    def __init__(self, writer: cv2.VideoWriter, file: Path, name: str) -> None:
        self.frames = 0
        self._writer = writer
        self._folder = file.parent
        self._name = name
        self._results: tuple[Result, ...] = ()
        self._shown: Result | None = None

    def write(self, frame_result: FrameResult) -> None:
        # Of a frame that comes in parts only the newest samples are drawn.
        self._results = frame_result.results or self._results
        seen = [result for result in frame_result.results if result.masks]
        self._shown = seen[-1] if seen else self._held(frame_result)
        if not frame_result.last:
            return
        room = os.statvfs(self._folder)
        if room.f_bavail * room.f_frsize < MIN_FREE_BYTES:
            refusal = f"cannot write {self._name}: the disk is full; make room"
            # Without a frame there is nothing to keep, and an older video in its place is worth more.
            raise FullDiskError(refusal) if self.frames else OutputError(refusal)
        image = draw_result(frame_result, self._results, self._shown)
        # The encoder takes even sizes only, and would cut a row or column off.
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        odd_height, odd_width = image.shape[0] % 2, image.shape[1] % 2
        self._writer.write(cv2.copyMakeBorder(bgr, 0, odd_height, 0, odd_width, cv2.BORDER_REPLICATE))
        self.frames += 1
        self._results = ()

    def _held(self, frame_result: FrameResult) -> Result | None:
        if self._shown is None or frame_result.frame.capture_ns - self._shown.t_ns > HOLD_MS * 1e6:
            return None
        return self._shown


@contextmanager
def video_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[VideoSink]:
    """A sink writing the video file `name` at a constant rate; playable however the block ends well."""
    codec = cv2.VideoWriter.fourcc(*CODECS[Path(name).suffix.lower()])
    even_wh = (frame_wh[0] + frame_wh[0] % 2, frame_wh[1] + frame_wh[1] % 2)
    with atomic_path(name) as temporary:
        writer = cv2.VideoWriter(str(temporary), codec, fps, even_wh)
        if not writer.isOpened():
            raise OutputError(f"cannot write {name}: this OpenCV has no encoder for it, try .avi")
        sink = VideoSink(writer, temporary, name)
        try:
            yield sink
        finally:
            writer.release()
        _check(temporary, sink.frames, name)


def _check(file: Path, frames: int, name: str) -> None:
    """Raise OutputError unless the video opens and has its frames: OpenCV's writer reports no failure."""
    capture = cv2.VideoCapture(str(file))
    found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    # Matroska counts by duration, which may be off by one.
    if found < frames - 1 or (frames and not found):
        raise OutputError(f"cannot write {name}: {found} of {frames} frames arrived; is the disk full?")
