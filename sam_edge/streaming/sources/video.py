"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.sources.capture import Capture
from sam_edge.streaming.sources.mp4 import Mp4Times, read_mp4_times
from sam_edge.streaming.sources.source import Frame, SourceInfo

DEFAULT_FPS = 30.0
"""For a file that says neither its rate nor its times."""
MIN_TRIES = 64
"""So many reads may fail in a row where the container does not say how many frames are left."""
COUNT_TOLERANCE_S = 2.0
"""Only MP4 and AVI count their frames. Elsewhere the number comes from the duration, also that of the sound."""
_PTS = getattr(cv2, "CAP_PROP_PTS", None)
"""OpenCV before 4.11 does not tell where the first frame stands on the clock of the file."""


class VideoSource:
    """A video file, decoded frame by frame. No frame is dropped: the file waits.

    Times are those of the file: the first frame may stand later than 0. The clock of an MPEG stream has no zero
    of its own, so there the first frame is at 0.
    """

    def __init__(self, path: str, *, rate_hz: float | None = None) -> None:
        """Open a file and read its first frame.

        Args:
            path: the file; closed by `close`.
            rate_hz: frames per second of a raw stream (.h264, .hevc), which has no times.

        Raises:
            InputError: not a video, or `rate_hz` for one that has times.
        """
        head, mp4 = _read_header(path)
        self._capture = Capture(path)
        if not self._capture.is_open:
            raise InputError(
                f"{path} is not a video that this OpenCV can read",
                path=path,
                hint="convert it to MP4 (H.264)",
            )
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._raw = _is_raw(head, count)
        if rate_hz is not None and not self._raw:
            raise InputError(f"{path} has times of its own", path=path, hint="leave --rate out")
        self._count = count if count > 0 and not self._raw else None
        self.lost_frames = 0
        self._reads = 0
        first = self._read()
        if first is None:
            raise InputError(
                f"{path} holds no image that can be decoded", path=path, hint="convert it to MP4 (H.264)"
            )
        self._first = first
        fps = rate_hz or self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        if self._count and mp4 and mp4.shown_s:
            self._count = min(self._count, max(1, int(mp4.shown_s * fps + 0.01)))
        self._tolerance = 0 if mp4 or head == b"RIFF" else COUNT_TOLERANCE_S * fps
        self._origin_ms = 0.0 if _is_mpeg_stream(head) or self._raw else self._stream_start_ms(fps, mp4)
        notes: tuple[str, ...] = ()
        if self._raw and rate_hz is None:
            notes = (f"{path} has no times: {fps:g} frames/s are assumed; give --rate if it is another",)
        self.info = SourceInfo(
            frame_wh=(first.shape[1], first.shape[0]),
            fps=fps,
            length=self._count,
            start_ns=0 if self._raw else round((self._stamp_ms() + self._origin_ms) * 1e6),
            unix_ns=mp4.created_unix_s * 10**9 if mp4 and mp4.created_unix_s else None,
            notes=notes,
        )

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, in one pass: open the file again for another one."""
        image: NDArray[np.uint8] | None = self._first
        index, capture_ns, fps = 0, self.info.start_ns, self.info.fps
        while image is not None:
            yield Frame(image, index, capture_ns)
            image = self._read()
            index += 1
            # Where times are missing or stand still, the nominal rate has to do.
            stamp_ns = 0 if self._raw else round((self._stamp_ms() + self._origin_ms) * 1e6)
            capture_ns = stamp_ns if stamp_ns > capture_ns else capture_ns + round(1e9 / fps)
        missing = (self._count or 0) - index
        if missing > self._tolerance and self._capture.is_open:
            self.lost_frames = max(self.lost_frames, missing)

    def close(self) -> None:
        self._capture.close()

    def _read(self) -> NDArray[np.uint8] | None:
        """The next frame that can be decoded; None at the end.

        OpenCV answers alike at a damaged frame and at the end, so it is asked again as long as the container
        counts more frames.
        """
        failed = 0
        while True:
            bgr = self._capture.read()
            self._reads += 1
            if bgr is not None:
                self.lost_frames += failed
                return cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            failed += 1
            if not self._capture.is_open or (failed >= MIN_TRIES and self._reads >= (self._count or 0)):
                return None

    def _stamp_ms(self) -> float:
        """Milliseconds from the start of the stream to the frame that was read last."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC)

    def _stream_start_ms(self, fps: float, mp4: Mp4Times | None) -> float:
        """Where the stream starts on the clock of the file, in milliseconds."""
        if _PTS is None:
            return 1e3 * mp4.delay_s if mp4 else 0.0
        # Counted in frames, so it is exact to half a frame only; the header of an MP4 file knows better.
        start_ms = self._capture.get(_PTS) / fps * 1e3 - self._stamp_ms()
        frame_ms = 1e3 / fps
        header_ms = 1e3 * mp4.delay_s if mp4 else 0.0
        return header_ms if abs(header_ms - start_ms) <= frame_ms / 2 else start_ms


def _read_header(path: str) -> tuple[bytes, Mp4Times | None]:
    """The first bytes of a file and the times of an MP4 header.

    Raises:
        InputError: naming what OpenCV would only call unreadable.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path} is not a file", path=path, hint="give a video file")
        with Path(path).open("rb") as file:
            head = file.read(4)
            if not head:
                raise InputError(f"{path} is empty", path=path, hint="give a video file")
            return head, read_mp4_times(file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error


def _is_raw(head: bytes, count: int) -> bool:
    """Whether a file is a raw stream, such as .h264, .hevc (Annex B) or .mjpeg, whose frames have no times."""
    if _is_mpeg_stream(head):
        return False
    return head.startswith((b"\0\0\0\1", b"\0\0\1")) or (head.startswith(b"\xff\xd8\xff") and count <= 0)


def _is_mpeg_stream(head: bytes) -> bool:
    """Whether a file is an MPEG transport or program stream, whose clock begins anywhere."""
    return head[:1] == b"G" or head == b"\0\0\1\xba"
