"""Videos are read frame by frame, with times that never go back."""

from __future__ import annotations

import io
import os
import struct
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.sources.mp4 import read_mp4_times
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
    assert source.info.frame_wh == (64, 48)
    assert source.info.length == len(frames) == 6
    assert (source.info.start_ns, source.info.notes, source.lost_frames) == (0, (), 0)
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
        if what == cv2.CAP_PROP_PTS:
            return self.get(cv2.CAP_PROP_POS_MSEC) * 30 / 1e3
        return 30.0 if what == cv2.CAP_PROP_FPS else float(len(self._stamps))


def times_ms(stamps_ms: list[float]) -> list[float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sam_edge.streaming.sources.video.cv2.VideoCapture", lambda path: FakeCapture(stamps_ms))
        return [frame.capture_ns / 1e6 for frame in VideoSource(__file__)]


def test_times_are_those_of_the_file() -> None:
    assert times_ms([0, 33, 100]) == [0, 33, 100]


def test_a_stamp_that_stands_still_goes_on_by_the_nominal_rate() -> None:
    assert times_ms([0, 200, 400, 400, 600]) == pytest.approx([0, 200, 400, 433.333, 600], abs=0.01)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_times_always_rise(stamps_ms: list[float]) -> None:
    times = times_ms(stamps_ms)
    assert times[0] == pytest.approx(stamps_ms[0], abs=0.001)
    assert all(after > before for before, after in pairwise(times))


def test_what_is_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, message in [
        ("nowhere.mp4", "No such file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is not a video"),
        ("pipe.mp4", "is not a file"),
        ("", "is not a file"),
    ]:
        with pytest.raises(InputError, match=message):
            VideoSource(str(tmp_path / name))


def noise_mp4(path: Path, frames: int = 60) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    random = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(random.integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def damaged(data: bytes) -> bytes:
    """The middle of a file is zero."""
    start, end = int(0.35 * len(data)), int(0.55 * len(data))
    return data[:start] + bytes(end - start) + data[end:]


@pytest.mark.parametrize("count", [60, 600])
def test_reading_goes_on_behind_a_hole(tmp_path: Path, count: int) -> None:
    path = tmp_path / "hole.mp4"
    path.write_bytes(damaged(noise_mp4(path, count)))
    source = VideoSource(str(path))
    frames = list(source)
    assert 0.7 * count < len(frames) < 0.9 * count
    assert source.lost_frames == count - len(frames)
    assert frames[-1].capture_ns == (count - 1) * 40_000_000
    assert [frame.index for frame in frames] == list(range(len(frames)))


@pytest.mark.shared
def test_a_real_video_with_a_hole(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "hole.mp4"
    path.write_bytes(damaged((shared / "data" / "clips" / "bedroom.mp4").read_bytes()))
    source = VideoSource(str(path))
    frames = list(source)
    assert len(frames) > 150
    assert len(frames) + source.lost_frames == source.info.length == 200
    assert frames[-1].capture_ns == pytest.approx(199 / 30 * 1e9, abs=1000)


@pytest.mark.shared
def test_a_real_video_that_breaks_off(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    path.write_bytes((shared / "data" / "clips" / "01_dog.mp4").read_bytes()[:1_400_000])
    source = VideoSource(str(path))
    frames = list(source)
    assert 0 < len(frames) < 289
    assert source.lost_frames == 289 - len(frames)


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def retimed(data: bytes, delay_ms: int, created_s: int) -> bytes:
    """An MP4 file, its header last, whose pictures begin later and which says when it was made."""
    start = data.index(b"elst") - 4
    size, timescale = struct.unpack_from(">I", data, start)[0], 1000
    old = data[start + 16 : start + size]
    edits = box(b"elst", struct.pack(">II", 0, 2), struct.pack(">IiI", delay_ms, -1, 0x10000), old)
    out = bytearray(data[:start] + edits + data[start + size :])
    for kind in (b"edts", b"trak", b"moov"):
        at = out.rindex(kind, 0, start) - 4
        struct.pack_into(">I", out, at, struct.unpack_from(">I", out, at)[0] + len(edits) - size)
    at = out.index(b"mvhd") + 8
    assert struct.unpack_from(">I", out, at + 8)[0] == timescale
    struct.pack_into(">I", out, at, created_s + 2_082_844_800)
    return bytes(out)


def test_a_first_frame_that_stands_later_than_zero(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    data = noise_mp4(path, frames=10)
    assert VideoSource(str(path)).info.unix_ns is None
    path.write_bytes(retimed(data, 667, 1_700_000_000))
    source = VideoSource(str(path))
    assert [frame.capture_ns for frame in source] == [667_000_000 + k * 40_000_000 for k in range(10)]
    assert source.info.start_ns == 667_000_000
    assert source.info.unix_ns == 1_700_000_000 * 10**9
    assert source.lost_frames == 0


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_header_that_is_damaged_is_left_out(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray((tmp_path / "whole.mp4").read_bytes() if (tmp_path / "whole.mp4").exists() else b"")
    if not whole:
        whole = bytearray(noise_mp4(tmp_path / "whole.mp4", frames=2))
    moov = whole.index(b"moov")
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(moov - 4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    found = read_mp4_times(io.BytesIO(whole[: data.draw(st.integers(0, len(whole)))]))
    assert found is None or found.delay_s >= 0


def test_an_empty_movie_header_is_left_out() -> None:
    boxes = b"\0\0\0\x08ftyp" + b"\0\0\0\x10moov" + b"\0\0\0\x08mvhd"
    assert read_mp4_times(io.BytesIO(boxes)) is None


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".ts", ".mpg"])
def test_containers_begin_at_zero_and_lose_nothing(tmp_path: Path, suffix: str) -> None:
    codec = {".mkv": "mp4v", ".avi": "MJPG"}.get(suffix, "MPG2")
    path = str(tmp_path / f"clip{suffix}")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for shade in range(30):
        writer.write(np.full((48, 64, 3), 5 * shade, np.uint8))
    writer.release()
    source = VideoSource(path)
    assert [frame.capture_ns for frame in source] == [k * 40_000_000 for k in range(30)]
    assert (source.lost_frames, source.info.notes) == (0, ())
    with pytest.raises(InputError, match="leave --rate out"):
        VideoSource(path, rate_hz=30)


def raw_h264(mp4: bytes) -> bytes:
    """The pictures of an H.264 MP4 file that has no sound, as Annex B."""
    sets = mp4[mp4.index(b"avcC") + 9 :]
    units, at = [], 1
    for _ in range(2):
        (size,) = struct.unpack_from(">H", sets, at)
        units.append(sets[at + 2 : at + 2 + size])
        # Behind the sequence set stands the number of picture sets.
        at += 3 + size
    at = mp4.index(b"mdat") + 4
    end = at - 8 + struct.unpack_from(">I", mp4, at - 8)[0]
    while at < end:
        (size,) = struct.unpack_from(">I", mp4, at)
        units.append(mp4[at + 4 : at + 4 + size])
        at += 4 + size
    return b"".join(b"\0\0\0\1" + unit for unit in units)


@pytest.mark.shared
def test_a_raw_stream_has_no_times_and_says_so(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "raw.h264"
    path.write_bytes(raw_h264((shared / "data" / "clips" / "bedroom.mp4").read_bytes()))
    source = VideoSource(str(path))
    (note,) = source.info.notes
    assert "25 frames/s are assumed" in note
    assert [frame.capture_ns for frame in source] == [k * 40_000_000 for k in range(200)]
    assert source.info.length is None
    faster = VideoSource(str(path), rate_hz=50)
    assert faster.info.notes == ()
    assert [frame.capture_ns for frame in faster] == [k * 20_000_000 for k in range(200)]


def test_a_raw_stream_written_here(tmp_path: Path) -> None:
    path = str(tmp_path / "clip.mjpeg")
    shade = np.full((48, 64, 3), 90, np.uint8)
    Path(path).write_bytes(cv2.imencode(".jpg", shade)[1].tobytes() * 8)
    source = VideoSource(path, rate_hz=10)
    assert [frame.capture_ns for frame in source] == [k * 100_000_000 for k in range(8)]
    assert "--rate" in VideoSource(path).info.notes[0]
