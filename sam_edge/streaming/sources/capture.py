"""OpenCV's VideoCapture, made safe to close from another thread."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Lock
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray


class Capture:
    """A file, device or stream that one thread reads and any thread may close.

    OpenCV crashes when a capture is released while it reads, so `close` leaves that to the
    reader if there is one.
    """

    def __init__(self, name: str, backend: int | None = None, parameters: Sequence[int] = ()) -> None:
        """Open it; `is_open` says whether that worked.

        Args:
            name: a path, an address or a pipeline.
            backend: one of OpenCV's CAP_ constants; None: OpenCV chooses.
            parameters: properties and their values in turn, as cv2.VideoCapture takes them.
        """
        if backend is None:
            self._capture = cv2.VideoCapture(name)
        else:
            self._capture = cv2.VideoCapture(name, backend, list(parameters))
        self._closing = Event()
        self._busy = Lock()

    @property
    def is_open(self) -> bool:
        return not self._closing.is_set() and self._capture.isOpened()

    def read(self) -> NDArray[np.uint8] | None:
        """The next image, as OpenCV gives it; None at the end, where it fails, and after `close`."""
        there, image = False, None
        with self._busy:
            if not self._closing.is_set():
                there, image = self._capture.read()
        if self._closing.is_set():
            self.close()
        return cast("NDArray[np.uint8]", image) if there else None

    def get(self, key: int) -> float:
        """A property of OpenCV; 0 after `close`."""
        with self._busy:
            return 0.0 if self._closing.is_set() else float(self._capture.get(key))

    def set(self, key: int, value: float) -> bool:
        """Change a property of OpenCV; whether it took it."""
        with self._busy:
            return not self._closing.is_set() and bool(self._capture.set(key, value))

    def close(self) -> None:
        """Give the file or device back: now, or when the read that is under way ends."""
        self._closing.set()
        if self._busy.acquire(blocking=False):
            try:
                self._capture.release()
            finally:
                self._busy.release()
