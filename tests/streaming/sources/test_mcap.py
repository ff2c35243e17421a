"""Recordings are frame sources and gaze recordings, those of the sink and those of sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.clock import choose_clock, to_frame_clock
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import open_gaze
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.mcap_file import open_recorder
from sam_edge.streaming.sinks.mcap import mcap_sink
from sam_edge.streaming.sources.source import Frame, SourceInfo, open_source
from tests.disc_model import disc_segmenter
from tests.streaming.live.watching import MS, PATIENCE_S, picture
from tests.streaming.session.recorded import record
from tests.streaming.sinks.made import FRAME_NS, WH, part, result

pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
pytest.importorskip("mcap_protobuf", reason="mcap-protobuf-support is not installed")
START_NS = 30_000 * 10**9


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path / "model")


def sunk(path: Path, frames: int = 5) -> str:
    """A file of the sink, on a clock that began hours ago."""
    with mcap_sink(str(path), WH, 25.0) as sink:
        for index in range(frames):
            made = part(index)
            t_ns = START_NS + index * FRAME_NS + 3
            asked = replace(result(t_ns), gaze=GazeSample(t_ns, 0.25, 0.5, 0.9, "source", 77, t_ns + 5))
            frame = replace(made.frame, capture_ns=START_NS + index * FRAME_NS)
            # A mask that is carried on names its sample again.
            sink.write(FrameResult(frame, 20.0, (asked, asked), True))
    return str(path)


def test_frames_of_the_sink_come_back_with_their_times(tmp_path: Path) -> None:
    source = open_source(sunk(tmp_path / "seen.mcap"))
    assert source.info == SourceInfo(WH, 25.0, 5, START_NS)
    # A source may be read twice.
    for _ in range(2):
        frames = list(source)
        assert [frame.capture_ns - START_NS for frame in frames] == [index * FRAME_NS for index in range(5)]
        assert [frame.index for frame in frames] == list(range(5))
        assert np.abs(frames[0].image.astype(int) - 90).max() < 5
    assert source.lost_frames == 0
    source.close()
    assert list(source) == []


def test_gaze_of_the_sink_is_on_the_clock_of_its_frames(tmp_path: Path) -> None:
    name = sunk(tmp_path / "seen.mcap")
    recording = open_gaze(name)
    samples = to_frame_clock(recording, choose_clock(recording, open_source(name).info))
    assert [sample.t_ns for sample in samples] == [START_NS + index * FRAME_NS + 3 for index in range(5)]
    assert {(sample.x_norm, sample.y_norm, sample.confidence) for sample in samples} == {(0.25, 0.5, 0.9)}


def test_frames_of_a_session_are_those_that_came_to_the_pixel(segmenter: Segmenter, tmp_path: Path) -> None:
    live = record(tmp_path / "session.mcap", segmenter, frames=5)
    seen = {part.frame.index: part.frame for part in live.parts}
    frames = {frame.capture_ns: frame.image for frame in open_source(str(live.path))}
    assert len(frames) >= len(seen) > 0
    for frame in seen.values():
        np.testing.assert_array_equal(frames[frame.capture_ns], frame.image)


def test_samples_of_a_trackers_own_clock_come_onto_that_of_the_frames(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "session.mcap"
    recorder = open_recorder(str(path), segmenter, StreamConfig(), SourceInfo((256, 128), 30.0))
    with Stream(segmenter, pipeline=recorder.pipeline) as stream:
        stream.push_frame(picture())
        stream.drain(PATIENCE_S)
        for number in range(4):
            t_ns = START_NS + number * 5 * MS
            stream.push(GazeSample(t_ns - 10**15, 0.5, 0.5, 1.0, "source", receive_ns=t_ns + 2 * MS))
        stream.drain(PATIENCE_S)
    assert str(recorder.close()) == ""
    # The shortest delay cannot be told from the offset.
    assert [sample.t_ns - START_NS for sample in open_gaze(str(path))] == [
        (2 + 5 * number) * MS for number in range(4)
    ]


def test_frames_of_another_size_and_of_before_count_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "seen.mcap"
    with mcap_sink(str(path), WH, 25.0) as sink:
        for index, (wh, at) in enumerate([(WH, 0), (WH, 2), (WH, 1), ((64, 64), 3), (WH, 4)]):
            image = np.zeros((wh[1], wh[0], 3), np.uint8)
            sink.write(FrameResult(Frame(image, index, at * FRAME_NS), None, (), True))
    source = open_source(str(path))
    assert [frame.capture_ns // FRAME_NS for frame in source] == [0, 2, 4]
    assert source.lost_frames == 2


def test_what_is_missing_is_said(tmp_path: Path, segmenter: Segmenter) -> None:
    path = tmp_path / "seen.mcap"
    with mcap_sink(str(path), WH, 25.0):
        pass
    with pytest.raises(InputError, match="holds no frames"):
        open_source(str(path))
    with pytest.raises(InputError, match="holds no gaze"):
        open_gaze(str(path))
    with pytest.raises(InputError, match="times of its own"):
        open_source(sunk(path), rate_hz=25.0)
    path.write_bytes(path.read_bytes()[:-200])
    source = open_source(str(path))
    assert "cut off" in source.info.notes[0]
    assert len(list(source)) == 5
