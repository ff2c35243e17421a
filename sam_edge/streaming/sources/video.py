"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.sources.source import Frame


class VideoSource:
    """A video file, decoded frame by frame. No frame is dropped: the file waits."""

    def __init__(self, path: str) -> None:
        _check_file(path)
        self._capture = cv2.VideoCapture(path)
        if not self._capture.isOpened():
            raise InputError(
                f"{path} is not a video that this OpenCV can read",
                path=path,
                hint="convert it to MP4 (H.264)",
            )
        first = self._read()
        if first is None:
            raise InputError(
                f"{path} holds no image that can be decoded", path=path, hint="convert it to MP4 (H.264)"
            )
        self._first = first
        self._start_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        self.frame_wh = (first.shape[1], first.shape[0])
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 30.0
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = count if count > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, in one pass: open the file anew for another one."""
        image: NDArray[np.uint8] | None = self._first
        index, capture_ns = 0, 0
        while image is not None:
            yield Frame(image, index, capture_ns)
            image = self._read()
            index += 1
            # Where a container's times are missing or stand still, the nominal rate has to do.
            stamp_ns = round((self._capture.get(cv2.CAP_PROP_POS_MSEC) - self._start_ms) * 1e6)
            capture_ns = stamp_ns if stamp_ns > capture_ns else capture_ns + round(1e9 / self.fps)

    def close(self) -> None:
        self._capture.release()

    def _read(self) -> NDArray[np.uint8] | None:
        there, bgr = self._capture.read()
        return cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)) if there else None


def _check_file(path: str) -> None:
    """Raise InputError naming what OpenCV would only call unreadable."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path} is no file", path=path, hint="give a video file")
        with Path(path).open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty", path=path, hint="give a video file")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
