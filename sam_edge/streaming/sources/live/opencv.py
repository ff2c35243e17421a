"""A camera that OpenCV reads: streams that FFmpeg or GStreamer decodes."""

from __future__ import annotations

import math

import cv2

from sam_edge.errors import InputError
from sam_edge.streaming.sources.capture import Capture
from sam_edge.streaming.sources.live.camera import Picture, now_ns
from sam_edge.streaming.sources.live.pixels import opencv_to_rgb


class OpenCvCamera:
    """An open capture as a camera; see `Camera`."""

    on_host_clock = False

    def __init__(self, name: str, capture: Capture) -> None:
        self.name = name
        self.fps = capture.get(cv2.CAP_PROP_FPS)
        self.notes: tuple[str, ...] = ()
        self.lost_frames = 0
        self._capture = capture
        self._last_ms = -math.inf

    def read(self) -> Picture | None:
        while (image := self._capture.read()) is not None:
            receive_ns = now_ns()
            try:
                rgb = opencv_to_rgb(image)
            except InputError:
                self.lost_frames += 1
                continue
            return Picture(rgb, receive_ns, self._source_ns())
        return None

    def close(self) -> None:
        self._capture.close()

    def _source_ns(self) -> int | None:
        """Streams without times say 0 or repeat the last one."""
        stamp_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        rises = math.isfinite(stamp_ms) and stamp_ms > self._last_ms
        if math.isfinite(stamp_ms):
            self._last_ms = stamp_ms
        return round(stamp_ms * 1e6) if rises else None
