"""Which encoder writes a video: H.264 where there is one, because browsers and chats play nothing else.

PyAV (extra `video`) brings libx264, or openh264 where a distribution built it so. Its files hold the frames'
own times, and begin with their index (faststart), so a browser plays them while they load. Without PyAV, OpenCV
writes MPEG-4 Part 2 at a constant rate: its wheels have no H.264 for its licence. AVI, which has no times
either, stays Motion JPEG, which every program reads.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import OutputError

_log = logging.getLogger(__name__)

OPENCV_CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
H264_ENCODERS = {
    # For little work, and without frames that wait in the encoder: they would take memory.
    "libx264": {"preset": "superfast", "tune": "zerolatency", "crf": "23"},
    "libopenh264": {"b": "4M"},
}
"""In the order in which they are tried, with their settings."""
TICKS = 90_000
"""Of a second, in which H.264 counts time."""
SMPTE_170M = 6
"""The colours of standard definition, which OpenCV computes; players take others for large images unasked."""


class VideoWriter(Protocol):
    """Writes images of one even size to a file."""

    note: str
    """Which encoder it is, and what would be better, in one line."""

    def write(self, image: NDArray[np.uint8], t_ns: int) -> None:
        """Add an image (H, W, 3) uint8 RGB that was taken at `t_ns`.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: the file is not whole.
        """
        ...


def open_writer(file: Path, name: str, frame_wh: tuple[int, int], fps: float) -> VideoWriter:
    """The best writer for a file's suffix on this machine; `name` is what errors call the file.

    Raises:
        OutputError: there is no encoder for it, or the file cannot be made.
    """
    rate = Fraction(min(max(fps, 1.0), 1000.0) if isfinite(fps) else 30.0).limit_denominator(1001)
    if file.suffix.lower() == ".avi":
        return OpenCvWriter(file, name, frame_wh, rate, "Motion JPEG, OpenCV")
    try:
        import av
    except ImportError:
        return _without_h264(file, name, frame_wh, rate, "pip install 'sam-edge[video]'")
    for encoder in H264_ENCODERS:
        if encoder in av.codecs_available:
            return H264Writer(file, name, frame_wh, rate, encoder)
    return _without_h264(file, name, frame_wh, rate, "a PyAV with libx264 or libopenh264")


def _without_h264(file: Path, name: str, frame_wh: tuple[int, int], rate: Fraction, need: str) -> VideoWriter:
    writer = OpenCvWriter(
        file, name, frame_wh, rate, f"MPEG-4 Part 2, OpenCV; no browser plays it: for H.264 {need}"
    )
    _log.warning("%s", writer.note)
    return writer


class H264Writer:
    """Writes H.264 (yuv420p) with the images' own times."""

    def __init__(self, file: Path, name: str, frame_wh: tuple[int, int], rate: Fraction, encoder: str) -> None:
        import av

        self.note = f"{name}: H.264, {encoder}"
        self._av: Any = av
        self._name = name
        self._first_ns: int | None = None
        self._ticks = -TICKS
        try:
            options = {"movflags": "faststart"} if file.suffix.lower() == ".mp4" else {}
            self._container = self._av.open(str(file), "w", options=options)
            self._stream = self._container.add_stream(encoder, rate=rate, options=H264_ENCODERS[encoder])
            self._stream.width, self._stream.height = frame_wh
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, TICKS)
            self._stream.codec_context.colorspace = SMPTE_170M
            # The other cores have masks to compute.
            self._stream.codec_context.thread_count = 1
        except (av.FFmpegError, ValueError) as error:
            raise self._refusal(error) from error

    def write(self, image: NDArray[np.uint8], t_ns: int) -> None:
        if self._first_ns is None:
            self._first_ns = t_ns
        # Time does not stand still or go back in a file; a millisecond is the least step of Matroska.
        ticks = round((t_ns - self._first_ns) * TICKS / 1e9)
        self._ticks = max(ticks, self._ticks + TICKS // 1000)
        yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
        frame = self._av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts, frame.time_base = self._ticks, Fraction(1, TICKS)
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.FFmpegError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        try:
            if self._first_ns is not None:
                self._container.mux(self._stream.encode(None))
        except self._av.FFmpegError as error:
            raise self._refusal(error) from error
        finally:
            try:
                self._container.close()
            except self._av.FFmpegError as error:
                raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or str(error)
        return OutputError(f"cannot write {self._name}: {reason}", hint="make room, or write an .avi")


class OpenCvWriter:
    """Writes what OpenCV's wheels can, at a constant rate."""

    def __init__(self, file: Path, name: str, frame_wh: tuple[int, int], rate: Fraction, codec: str) -> None:
        self.note = f"{name}: {codec}"
        self._file = file
        self._name = name
        self._frames = 0
        code = cv2.VideoWriter.fourcc(*OPENCV_CODECS[file.suffix.lower()])
        self._writer = cv2.VideoWriter(str(file), code, float(rate), frame_wh)
        if not self._writer.isOpened():
            raise OutputError(f"cannot write {name}: this OpenCV has no encoder for it, try .avi")

    def write(self, image: NDArray[np.uint8], t_ns: int) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        self._writer.release()
        # OpenCV's writer reports no failure: does the video open, and has it its frames?
        capture = cv2.VideoCapture(str(self._file))
        found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        # Matroska counts by duration, which may be off by one.
        if found < self._frames - 1 or (self._frames and not found):
            raise OutputError(
                f"cannot write {self._name}: {found} of {self._frames} frames arrived; is the disk full?"
            )
