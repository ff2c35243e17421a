"""A whole run writes files that can be used, also when it is stopped midway or fails."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam_edge.errors import InputError, OutputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.offline import FrameResult
from sam_edge.streaming.replay import replay, stop_on_signals
from sam_edge.streaming.sources.source import Frame, SourceInfo
from tests.disc_model import disc_segmenter

GAZE = [GazeSample(t * 5_000_000, 0.25, 0.5) for t in range(100)]


class GreySource:
    """Grey frames, 25 a second."""

    lost_frames = 0
    frame_wh = (256, 128)

    def __init__(self, length: int = 10, fail_at: int | None = None) -> None:
        self.info = SourceInfo(self.frame_wh, 25.0, length)
        self.closed = False
        self._fail_at = fail_at

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.info.length or 0):
            if index == self._fail_at:
                raise RuntimeError("camera unplugged")
            yield Frame(np.full((128, 256, 3), 90, np.uint8), index, index * 40_000_000)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


def read_video(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    capture.release()
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_video_and_lines(segmenter: Segmenter, tmp_path: Path, suffix: str) -> None:
    video, lines = tmp_path / f"out{suffix}", tmp_path / "out.jsonl"
    source = GreySource()
    report = replay(segmenter, source, GAZE, [str(video), str(lines)])
    assert (report.frames, report.samples, report.masks) == (10, 80, 80)
    # The gaze stands still: one decode a frame, and every sample has its line.
    assert (report.encoded_frames, report.reused_masks) == (10, 70)
    assert (report.gaze_clock, report.gaze_offset_s, report.lost_frames) == ("video", 0, 0)
    assert source.closed
    frames = read_video(video)
    assert len(frames) == 10
    # The tint is green (BGR: more of channel 1 than of 2), and lies left of the middle, under the gaze.
    assert int(frames[5][64, 50, 1]) > int(frames[5][64, 50, 2]) + 40
    assert np.ptp(frames[5][64, 200].astype(int)) < 20
    parsed = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(parsed) == 80
    assert parsed[9]["t_ms"] == 45.0
    assert parsed[9]["frame"] == 1
    assert parsed[9]["frame_age_ms"] == 5.0
    assert (parsed[8]["reused"], parsed[9]["reused"]) == (False, True)
    assert parsed[9]["mask"] == parsed[8]["mask"]
    assert (parsed[9]["gaze_clock"], parsed[9]["gaze_offset_s"]) == ("video", 0)
    mask = coco.decode(parsed[9]["mask"]["rle"])
    assert mask.shape == (128, 256)
    assert mask[64, 64] == 1
    assert mask.sum() == parsed[9]["mask"]["area"]


def test_stop_midway_keeps_whole_files(segmenter: Segmenter, tmp_path: Path) -> None:
    stop = Event()

    def stop_at_4(frame_result: FrameResult) -> None:
        if frame_result.frame.index == 4:
            stop.set()

    outputs = [tmp_path / "out.mp4", tmp_path / "out.jsonl"]
    report = replay(segmenter, GreySource(100), GAZE, list(map(str, outputs)), stop=stop, each=stop_at_4)
    assert report.interrupted
    # The frame that was already read when the stop came is still finished.
    assert report.frames == len(read_video(outputs[0])) == 6
    assert all(json.loads(line) for line in outputs[1].read_text().splitlines())


def test_signal_stops_between_frames() -> None:
    # A shell starts what runs in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_failure_leaves_nothing_and_harms_nothing(segmenter: Segmenter, tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    video.write_bytes(b"the last good run")
    source = GreySource(fail_at=5)
    with pytest.raises(RuntimeError, match="camera unplugged"):
        replay(segmenter, source, GAZE, [str(video), str(tmp_path / "out.jsonl")])
    assert video.read_bytes() == b"the last good run"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["contents", "disc", "out.mp4"]
    assert source.closed


def test_unwritable_output_is_found_before_the_work(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done: list[FrameResult] = []
    with pytest.raises(OutputError, match="cannot write"):
        replay(segmenter, GreySource(), GAZE, [str(tmp_path / "file" / "out.mp4")], each=done.append)
    assert done == []


def test_full_disk_is_found_while_the_old_file_is_safe(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "out.mp4"
    video.write_bytes(b"the last good run")
    full = os.statvfs_result([4096, 4096, 9, 9, 0, 9, 9, 9, 0, 255])
    monkeypatch.setattr("sam_edge.streaming.sinks.room.os.statvfs", lambda path: full)
    with pytest.raises(OutputError, match="the disk is full"):
        replay(segmenter, GreySource(), GAZE, [str(video)])
    assert video.read_bytes() == b"the last good run"


def test_a_disk_that_fills_up_ends_the_run_and_keeps_whole_files(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = iter([1000] * 6 + [9] * 100)

    def filling(path: Path) -> os.statvfs_result:
        return os.statvfs_result([4096, 4096, 9, 9, next(rooms), 9, 9, 9, 0, 255])

    monkeypatch.setattr("sam_edge.streaming.sinks.room.os.statvfs", filling)
    outputs = [str(tmp_path / "out.mp4"), str(tmp_path / "out.jsonl")]
    source = GreySource(100)
    with pytest.raises(OutputError, match=r"the first 6 frames are kept in .*out\.mp4, .*out\.jsonl"):
        replay(segmenter, source, GAZE, [*outputs, "-"])
    assert source.closed
    assert len(read_video(tmp_path / "out.mp4")) == 6
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[-1]["frame"] == 5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["contents", "disc", "out.jsonl", "out.mp4"]


def test_a_video_that_lost_frames_is_not_kept(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What OpenCV does when the disk is full: it drops frames and says nothing.
    monkeypatch.setattr("sam_edge.streaming.sinks.video.fit", lambda *_: np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(OutputError, match="0 of 10 frames arrived"):
        replay(segmenter, GreySource(), GAZE, [str(tmp_path / "out.avi")])
    assert not (tmp_path / "out.avi").exists()


@pytest.mark.parametrize(("others", "frames"), [(["out.jsonl"], 10), ([], 1)])
def test_a_reader_that_leaves_costs_the_others_nothing(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[str], frames: int
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # Closing it writes what is left in its buffer, and must not fail.
    with os.fdopen(writing, "w") as nobody:
        monkeypatch.setattr("sys.stdout", nobody)
        report = replay(segmenter, GreySource(), GAZE, ["-", *(str(tmp_path / name) for name in others)])
        monkeypatch.undo()
    assert (report.frames, report.interrupted) == (frames, False)
    for name in others:
        assert len((tmp_path / name).read_text().splitlines()) == 80


def test_odd_sizes_are_kept(segmenter: Segmenter, tmp_path: Path) -> None:
    class OddSource(GreySource):
        frame_wh = (255, 127)

        def __iter__(self) -> Iterator[Frame]:
            return (Frame(np.zeros((127, 255, 3), np.uint8), k, k * 40_000_000) for k in range(3))

    replay(segmenter, OddSource(3), GAZE, [str(tmp_path / "out.MP4")])
    assert read_video(tmp_path / "out.MP4")[0].shape == (128, 256, 3)


def test_unknown_output(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match=r"cannot tell what to write to out\.gif"):
        replay(segmenter, GreySource(), GAZE, ["out.gif"])


def test_mask_is_held_through_a_blink_and_then_dropped(segmenter: Segmenter, tmp_path: Path) -> None:
    gaze = [GazeSample(0, 0.25, 0.5)] + [
        GazeSample(t * 5_000_000, 0.25, 0.5, confidence=0.0) for t in range(1, 100)
    ]
    replay(segmenter, GreySource(12), gaze, [str(tmp_path / "out.avi")])
    frames = [frame[64, 46:54].astype(int) for frame in read_video(tmp_path / "out.avi")]
    tinted = [bool((frame[:, 1] > frame[:, 2] + 40).any()) for frame in frames]
    hatched = [bool(np.ptp(frame[:, 0]) > 20) and not tint for frame, tint in zip(frames, tinted, strict=True)]
    # 300 ms at 25 frames a second: frames 0 to 7, and only on the first of them the mask is of now.
    assert tinted == [True] + [False] * 11
    assert hatched == [False] + [True] * 7 + [False] * 4
