"""The video sink: whole files, true times, and nothing of one frame on another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import OutputError
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.sink import FullDiskError
from sam_edge.streaming.sinks.video import fit, video_sink
from sam_edge.streaming.sources.source import Frame
from tests.streaming.sinks.made import WH, frame, part, result


def written(path: Path, steps: Sequence[FrameResult], wh: tuple[int, int] = WH) -> list[np.ndarray]:
    with video_sink(str(path), wh, 25.0) as sink:
        for step in steps:
            sink.write(step)
    capture = cv2.VideoCapture(str(path))
    images = []
    while (answer := capture.read())[0]:
        images.append(answer[1])
    capture.release()
    return images


def h264(path: Path) -> Any:
    av = pytest.importorskip("av", reason="PyAV is not installed: there is no H.264")
    if "libx264" not in av.codecs_available and "libopenh264" not in av.codecs_available:
        pytest.skip("this PyAV has no H.264 encoder")
    return av.open(str(path))


def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python does with a module that is not there.
    monkeypatch.setitem(sys.modules, "av", None)


def at(time_ns: int, index: int) -> FrameResult:
    return FrameResult(Frame(frame(index).image, index, time_ns), None, (), True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_h264_with_the_frames_own_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    # A camera that stutters, and one frame that was taken before the one before it.
    times_ms = [1000, 1040, 1052, 1052, 1300, 1290, 1400]
    images = written(path, [at(t * 1_000_000, index) for index, t in enumerate(times_ms)])
    assert len(images) == len(times_ms)
    with h264(path) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        found = [round(float(image.time) * 1000) for image in container.decode(video=0)]
    assert found == [0, 40, 52, 53, 300, 301, 400]


def test_the_index_of_an_mp4_comes_first(tmp_path: Path) -> None:
    written(tmp_path / "out.mp4", [part(index) for index in range(5)])
    h264(tmp_path / "out.mp4").close()
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_without_pyav_opencv_writes_and_says_so(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_pyav(monkeypatch)
    path = str(tmp_path / f"out{suffix}")
    with video_sink(path, WH, 25.0) as sink:
        for index in range(5):
            sink.write(part(index))
        assert ("sam-edge[video]" in sink.note) == (suffix != ".avi")
        assert "\n" not in sink.note
    # Said unasked where a browser would play nothing; who asks for an AVI knows.
    assert [record.message for record in caplog.records] == ([] if suffix == ".avi" else [sink.note])
    capture = cv2.VideoCapture(path)
    assert capture.read()[0]
    capture.release()


def test_a_frame_without_its_last_part_is_not_written_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # The gaze of the first frame is a ring at the quarter; its last part is lost.
    steps = [part(0, [result(0, "no_gaze")], last=False), part(1)]
    (image,) = written(tmp_path / "out.mp4", steps)
    assert np.ptp(image[20:44, 20:44].astype(int)) < 30


def test_a_mask_of_an_earlier_frame_is_stale(tmp_path: Path) -> None:
    images = written(tmp_path / "out.mp4", [part(0, [result(0)]), part(1)])
    green = [int(image[12:40, 12:20, 1].astype(int).mean() - image[12:40, 12:20, 2].mean()) for image in images]
    assert green[0] > 30
    assert abs(green[1]) < 10


def test_a_lost_object_goes_at_once(tmp_path: Path) -> None:
    steps = [part(0, [result(0, object_id=1)]), part(1, [result(40_000_000, "lost", object_id=1)])]
    images = written(tmp_path / "out.mp4", steps)
    assert np.ptp(images[1][12:20, 12:20].astype(int)) < 20


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(1, 300), st.integers(1, 300))
def test_any_image_fits_into_a_video(width: int, height: int) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    fitted = fit(image, (128, 64))
    assert fitted.shape == (64, 128, 3)
    assert (fitted[:, 62:66] == 200).any()


def test_a_camera_that_changes_its_size_spoils_nothing(tmp_path: Path) -> None:
    steps = [part(0), FrameResult(frame(1, (320, 240)), None, (), True), part(2)]
    assert len(written(tmp_path / "out.mp4", steps)) == 3


def test_room_for_the_index_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = iter([1000, 1000, 900])

    def filling(path: Path) -> os.statvfs_result:
        return os.statvfs_result([4096, 4096, 9, 9, next(rooms), 9, 9, 9, 0, 255])

    monkeypatch.setattr("sam_edge.streaming.sinks.room.os.statvfs", filling)
    with video_sink(str(tmp_path / "out.mp4"), WH, 25.0) as sink:
        sink.write(part(0))
        sink.write(part(1))
        with pytest.raises(FullDiskError, match="the disk is full"):
            sink.write(part(2))
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 2
    capture.release()


LIMITED = """
import resource, signal, sys
import numpy as np
from sam_edge.errors import OutputError
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.video import video_sink
from sam_edge.streaming.sources.source import Frame

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
random = np.random.default_rng(0)
try:
    with video_sink(sys.argv[1], (320, 240), 25.0) as sink:
        for index in range(60):
            noise = random.integers(0, 256, (240, 320, 3), np.uint8)
            sink.write(FrameResult(Frame(noise, index, index * 40_000_000), None, (), True))
except OutputError as error:
    print(error.what)
"""


def test_a_file_that_cannot_grow_is_said_and_not_kept(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: there is no H.264")
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the last good run")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"cannot write {path}"), done.stderr
    assert path.read_bytes() == b"the last good run"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="cannot write"),
        video_sink(str(tmp_path / "file" / "out.mp4"), WH, 25.0),
    ):
        pytest.fail("opened")


def test_a_run_without_frames(tmp_path: Path) -> None:
    assert written(tmp_path / "out.mp4", []) == []
