"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.frames import Frame


class VideoSource:
    """A video file, decoded frame by frame. No frame is dropped: the file waits."""

    def __init__(self, path: str) -> None:
        file = Path(path)
        if not file.is_file():
            raise InputError(f"cannot read {path}: no such file")
        if file.stat().st_size == 0:
            raise InputError(f"{path} is empty: give a video file")
        self._capture = cv2.VideoCapture(path)
        if not self._capture.isOpened():
            raise InputError(f"{path} is not a video that this OpenCV can read: convert it to MP4 (H.264)")
        first = self._read()
        if first is None:
            raise InputError(f"{path} holds no picture that can be decoded: convert it to MP4 (H.264)")
        self._first = first
        self.frame_wh = (first.shape[1], first.shape[0])
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 30.0
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = count if count > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, once; a second pass over the same source begins where the first ended."""
        image: NDArray[np.uint8] | None = self._first
        index, capture_ns = 0, 0
        while image is not None:
            yield Frame(image, index, capture_ns)
            image = self._read()
            index += 1
            # Containers without times give 0 or stand still: then the nominal rate has to do.
            stamp_ns = int(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            capture_ns = stamp_ns if stamp_ns > capture_ns else round(index * 1e9 / self.fps)

    def close(self) -> None:
        self._capture.release()

    def _read(self) -> NDArray[np.uint8] | None:
        there, bgr = self._capture.read()
        return cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)) if there else None
