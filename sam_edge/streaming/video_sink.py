"""Results as a video: the camera's picture with mask, gaze, ages and durations drawn in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from sam_edge.errors import OutputError
from sam_edge.files import atomic_path
from sam_edge.streaming.follow import Look, Step
from sam_edge.streaming.overlay import draw_step

# What every OpenCV wheel can write: H.264 is missing from them for its licence.
CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
HOLD_MS = 300.0
"""A mask stays in the picture this long after its gaze sample, which bridges blinks and slow trackers."""


class VideoSink:
    """Draws each step and writes it as one frame."""

    def __init__(self, writer: cv2.VideoWriter) -> None:
        self._writer = writer
        self._last: Look | None = None

    def write(self, step: Step) -> None:
        seen = [look for look in step.looks if look.masks]
        self._last = seen[-1] if seen else self._held(step)
        picture = draw_step(step, self._last)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _held(self, step: Step) -> Look | None:
        if self._last is None or step.frame.capture_ns - self._last.gaze.t_ns > HOLD_MS * 1e6:
            return None
        return self._last


@contextmanager
def video_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[VideoSink]:
    """A sink writing the video file `name`; the file is playable however the block ends well."""
    codec = cv2.VideoWriter_fourcc(*CODECS[Path(name).suffix])  # type: ignore[attr-defined]
    with atomic_path(name) as temporary:
        writer = cv2.VideoWriter(str(temporary), codec, fps, frame_wh)
        if not writer.isOpened():
            raise OutputError(f"cannot write {name}: this OpenCV has no encoder for it, try .avi")
        try:
            yield VideoSink(writer)
        finally:
            writer.release()
