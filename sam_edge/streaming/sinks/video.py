"""Results as a video: the camera's image with masks, gaze, ages and durations drawn in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import OutputError
from sam_edge.storage.files import atomic_path
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.overlay import draw_result
from sam_edge.streaming.sinks.room import check_room
from sam_edge.streaming.sinks.writers import VideoWriter, open_writer

HOLD_MS = 300.0
"""A mask stays in the image this long after its gaze sample, which bridges blinks and slow trackers. On frames
that are not its own it is drawn as stale."""


class VideoSink:
    """Draws each frame with the gaze samples of all its parts, and writes it when its last part comes."""

    def __init__(self, writer: VideoWriter, file: Path, name: str, frame_wh: tuple[int, int]) -> None:
        self.note = writer.note
        """Which encoder writes, in one line."""
        self._writer = writer
        self._file = file
        self._name = name
        self._wh = frame_wh
        self._frames = 0
        self._index: int | None = None
        self._results: tuple[Result, ...] = ()
        self._shown: dict[int | None, tuple[int, Result]] = {}

    def write(self, frame_result: FrameResult) -> None:
        frame = frame_result.frame
        if frame.index != self._index:
            # The last part of the frame before may have been dropped on the way.
            self._index, self._results = frame.index, ()
        # Of a frame that comes in parts only the newest samples are drawn.
        self._results = frame_result.results or self._results
        for result in frame_result.results:
            if result.masks is not None:
                self._shown[result.object_id] = frame.index, result
            elif result.status == "lost":
                self._shown.pop(result.object_id, None)
        if not frame_result.last:
            return
        check_room(self._file, self._name, self._frames)
        self._shown = {
            which: (index, result)
            for which, (index, result) in self._shown.items()
            if frame.capture_ns - result.t_ns <= HOLD_MS * 1e6
        }
        shown = [
            result if index == frame.index else replace(result, freshness="stale")
            for index, result in self._shown.values()
        ]
        image = draw_result(frame_result, self._results, shown)
        self._writer.write(fit(image, self._wh), frame.capture_ns)
        self._frames += 1


def fit(image: NDArray[np.uint8], frame_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """An image (H, W, 3) as a video of `frame_wh` (width, height) takes it.

    A missing last row or column is doubled, since encoders take even sizes only. An image of another size is
    scaled into the middle, its shape kept: a camera may change its size, a video may not.
    """
    width, height = frame_wh
    right, below = width - image.shape[1], height - image.shape[0]
    if not (0 <= right <= 1 and 0 <= below <= 1):
        scale = min(width / image.shape[1], height / image.shape[0])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        fitted = np.zeros((height, width, 3), np.uint8)
        fitted[top : top + size[1], left : left + size[0]] = scaled
        return fitted
    if right or below:
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)
    return image


@contextmanager
def video_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[VideoSink]:
    """A sink writing the video file `name`; playable however the block ends well."""
    even_wh = (frame_wh[0] + frame_wh[0] % 2, frame_wh[1] + frame_wh[1] % 2)
    with atomic_path(name) as temporary:
        writer = open_writer(temporary, name, even_wh, fps)
        try:
            yield VideoSink(writer, temporary, name, even_wh)
        except BaseException:
            # The file goes: that it is not whole either is no news.
            with suppress(OutputError):
                writer.close()
            raise
        writer.close()
