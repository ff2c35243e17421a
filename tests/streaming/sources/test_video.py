"""Videos are read frame by frame, with times that never go back."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.sources.video import VideoSource


def write_video(path: Path, frames: int = 6, fps: float = 25.0) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for shade in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 40 * shade), np.uint8))
    writer.release()
    return str(path)


def test_frames_are_rgb_in_order_with_times(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "clip.avi"))
    frames = list(source)
    assert source.frame_wh == (64, 48)
    assert source.length == len(frames) == 6
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.capture_ns for frame in frames] == [40_000_000 * k for k in range(6)]
    for shade, frame in enumerate(frames):
        assert abs(int(frame.image[20, 30, 0]) - 40 * shade) < 12
        assert frame.image[20, 30, 2] < 12
    source.close()


class FakeCapture:
    """A capture with chosen times."""

    def __init__(self, stamps_ms: list[float]) -> None:
        self._stamps = stamps_ms
        self._at = -1

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self._at += 1
        there = self._at < len(self._stamps)
        return there, np.zeros((4, 4, 3), np.uint8) if there else None

    def get(self, what: int) -> float:
        if what == cv2.CAP_PROP_POS_MSEC:
            return self._stamps[min(self._at, len(self._stamps) - 1)]
        return 30.0 if what == cv2.CAP_PROP_FPS else float(len(self._stamps))


def times_ms(stamps_ms: list[float]) -> list[float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sam_edge.streaming.sources.video.cv2.VideoCapture", lambda path: FakeCapture(stamps_ms))
        return [frame.capture_ns / 1e6 for frame in VideoSource(__file__)]


def test_the_first_frame_is_at_zero() -> None:
    assert times_ms([1400, 1433, 1500]) == [0, 33, 100]


def test_a_stamp_that_stands_still_goes_on_by_the_nominal_rate() -> None:
    assert times_ms([0, 200, 400, 400, 600]) == pytest.approx([0, 200, 400, 433.333, 600], abs=0.01)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_times_always_rise(stamps_ms: list[float]) -> None:
    times = times_ms(stamps_ms)
    assert times[0] == 0
    assert all(after > before for before, after in pairwise(times))


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, message in [
        ("nowhere.mp4", "No such file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is not a video"),
        ("pipe.mp4", "is no file"),
        ("", "is no file"),
    ]:
        with pytest.raises(InputError, match=message):
            VideoSource(str(tmp_path / name))
