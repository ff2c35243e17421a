"""A live stream with a small model: what is pushed in, and what comes out."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

from sam_edge.embedding import Embedding
from sam_edge.errors import EngineError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.scheduler import SchedulerConfig
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.sources.source import Frame
from tests.streaming.live.watching import MS, PATIENCE_S, Later, look, picture


def test_the_mask_lies_under_the_gaze_and_says_how_old_everything_is(stream: Stream) -> None:
    result = look(stream, 100, 60)
    assert result.masks is not None
    assert result.masks.binary[0, 60, 100]
    assert result.freshness == "fresh"
    assert (result.x_px, result.y_px) == pytest.approx((100, 60), abs=0.5)
    assert {"wait", "decode", "choose", "carry", "total"} <= result.stages_ms.keys()
    assert result.embedding_age_ms == result.frame_age_ms > 0
    assert stream.latest() is not None
    candidates = result.candidates()
    assert candidates is not None
    assert candidates.predicted_iou.tolist() == sorted(candidates.predicted_iou.tolist(), reverse=True)


def test_the_mask_is_carried_along_with_the_camera(segmenter: Segmenter) -> None:
    class OnceSegmenter(Segmenter):
        """Encodes one frame, so that its mask has to be carried."""

        encoded = 0

        def encode(self, *args: Any, **named: Any) -> Embedding:
            self.encoded += 1
            if self.encoded > 1:
                raise EngineError("busy")
            return super().encode(*args, **named)

    segmenter.__class__ = OnceSegmenter
    with Stream(segmenter, StreamConfig(scheduler=SchedulerConfig(max_encodes_per_s=1e6))) as stream:
        look(stream, 100, 60)
        stream.push_frame(picture(24))
        stream.drain(PATIENCE_S)
        result = stream.latest()
        assert result is not None
        assert result.freshness == "carried"
        assert result.masks is not None
        assert result.embedding_age_ms > result.frame_age_ms
        box = result.masks.boxes_px()[0]
        assert box[0] + box[2] / 2 == pytest.approx(124, abs=4)
        assert result.x_px == pytest.approx(124, abs=3)
        assert any(name.startswith("encode: EngineError") for name in stream.report().errors)


def test_a_blink_holds_the_mask_and_a_lost_eye_ends_it(stream: Stream) -> None:
    look(stream, 100, 60)
    t_ns = monotonic_ns() + 200 * MS
    stream.push_gaze(100, 60, t_ns, confidence=0.0)
    stream.push_frame(picture(1))
    stream.drain(PATIENCE_S)
    held = stream.latest()
    assert held is not None
    assert held.masks is not None
    stream.push_gaze(100, 60, t_ns + 2_000 * MS, confidence=0.0)
    stream.push_frame(picture(2))
    stream.drain(PATIENCE_S)
    gone = stream.latest()
    assert gone is not None
    assert (gone.status, gone.masks) == ("no_gaze", None)


def test_a_tracker_that_falls_silent_has_lost_the_eye(segmenter: Segmenter) -> None:
    late_ns = 0
    with Stream(segmenter, clock=lambda: monotonic_ns() + late_ns) as stream:
        look(stream, 100, 60)
        late_ns = 2_000 * MS
        stream.push_frame(picture(1))
        stream.drain(PATIENCE_S)
        with Later(stream) as later:
            stream.push_frame(picture(2))
            stream.drain(PATIENCE_S)
        assert later.results == []
        assert stream.report().dropped["looks that nothing followed"] == 1


def test_looking_past_the_frame(stream: Stream) -> None:
    look(stream, 100, 60)
    stream.push_gaze(300, 60, monotonic_ns() + 300 * MS)
    stream.push_frame(picture(1))
    stream.drain(PATIENCE_S)
    result = stream.latest()
    assert result is not None
    assert (result.status, result.masks) == ("outside", None)


def test_gaze_that_is_there_before_the_first_frame_is_seen_is_answered(stream: Stream) -> None:
    with Later(stream) as later:
        stream.push_frame(picture())
        stream.push_gaze(100, 60)
        result = later.mask()
    assert result.masks is not None
    assert result.masks.binary[0, 60, 100]


def test_a_slow_reader_gets_the_newest_results(stream: Stream) -> None:
    results = stream.results()
    with Later(stream) as later:
        look(stream, 100, 60)
        reading = iter([next(results)])
        for shift in range(1, 15):
            stream.push_frame(picture(shift))
            stream.drain(PATIENCE_S)
        newest = later.results[-1]
    stream.close()
    rest = [*reading, *results]
    assert rest[-1] is newest
    assert len(rest) <= 9
    assert stream.report().unread_results > 0


def test_frames_that_come_too_fast_are_skipped_and_counted(stream: Stream) -> None:
    begin_ns = monotonic_ns()
    for number in range(50):
        stream.push(Frame(picture(number), number, begin_ns + number * MS))
    stream.drain(PATIENCE_S)
    report = stream.report()
    assert report.frames == 50
    assert report.encoded_frames <= 50 - report.skipped_frames


def test_a_gyroscope_carries_the_mask_where_nothing_can_be_seen(segmenter: Segmenter) -> None:
    # A tenth of a radian to the right in a tenth of a second, seen by a camera of 90 degrees.
    config = StreamConfig(gaze=GazeFilterConfig(horizontal_fov_deg=90.0))
    with Stream(segmenter, config) as stream:
        begin_ns = monotonic_ns()
        stream.push_frame(picture(), begin_ns)
        stream.drain(PATIENCE_S)
        for number in range(40):
            stream.push_gaze(128, 64, begin_ns + number * MS)
        stream.drain(PATIENCE_S)
        for number in range(26):
            stream.push_rotation((0.0, 1.0, 0.0), begin_ns + number * 4 * MS)
        grey = np.full((128, 256, 3), 128, np.uint8)
        with Later(stream) as later:
            stream.push_frame(grey, begin_ns + 100 * MS)
            stream.drain(PATIENCE_S)
        carried = [result for result in later.results if result.reused and result.masks is not None]
        assert carried
        assert carried[0].freshness == "carried"
        assert carried[0].x_px == pytest.approx(128 - 128 * np.tan(0.1), abs=2)
