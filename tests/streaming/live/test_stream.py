"""A live stream with a small model: what is pushed in, and what comes out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.embedding import Embedding
from sam_edge.errors import EngineError, InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.follow import FollowConfig
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.scheduler import SchedulerConfig
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sources.source import Frame
from tests.disc_model import disc_segmenter

PATIENCE_S = 20.0
MS = 1_000_000


def picture(shift_px: int = 0, wh: tuple[int, int] = (256, 128)) -> np.ndarray:
    """Something to see for the camera's motion, moved to the right."""
    rng = np.random.default_rng(0)
    wide = np.kron(
        rng.integers(0, 256, (wh[1] // 8, wh[0] // 8 + 32), dtype=np.uint8), np.ones((8, 8), np.uint8)
    )
    return np.repeat(wide[:, 64 - shift_px : 64 - shift_px + wh[0], None], 3, axis=2)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


@pytest.fixture
def stream(segmenter: Segmenter) -> Iterator[Stream]:
    with Stream(segmenter) as stream:
        yield stream


def first_mask(stream: Stream) -> Result:
    """The first result that shows a mask."""
    return next(result for result in stream if result.masks is not None)


def look(stream: Stream, x_px: float, y_px: float) -> Result:
    """Push a frame and samples until there is a mask of what they look at."""
    with Later(stream) as later:
        stream.push_frame(picture())
        stream.drain(PATIENCE_S)
        t_ns = monotonic_ns()
        for number in range(40):
            stream.push_gaze(x_px, y_px, t_ns + number * 5 * MS)
        return later.mask()


class Later:
    """Collects what a stream tells from now on."""

    def __init__(self, stream: Stream) -> None:
        self.results: list[Result] = []
        self.replaced = 0
        self._came = Event()
        self._reading = stream.read_by(self)

    def put(self, result: Result) -> None:
        self.results.append(result)
        if result.masks is not None:
            self._came.set()

    def close(self) -> None:
        self._came.set()

    def mask(self) -> Result:
        assert self._came.wait(PATIENCE_S)
        return next(result for result in self.results if result.masks is not None)

    def __enter__(self) -> Later:
        self._reading.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._reading.__exit__(None, None, None)


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


def test_frames_of_another_size_midway(stream: Stream) -> None:
    look(stream, 100, 60)
    stream.push_frame(picture(wh=(128, 64)))
    stream.drain(PATIENCE_S)
    t_ns = monotonic_ns() + 500 * MS
    with Later(stream) as later:
        for number in range(40):
            stream.push_gaze(64, 32, t_ns + number * 5 * MS)
        result = later.mask()
    assert result.masks is not None
    assert result.masks.binary.shape == (1, 64, 128)
    assert stream.report().errors == {}


SAMPLES = st.builds(
    GazeSample,
    st.integers(-(2**63), 2**63),
    st.floats(),
    st.floats(),
    st.floats(),
    st.sampled_from(["host", "source"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(SAMPLES, max_size=20))
def test_no_sample_raises_and_good_ones_are_answered_after_it(
    segmenter: Segmenter, samples: list[GazeSample]
) -> None:
    with Stream(segmenter) as stream:
        stream.push_frame(picture())
        stream.drain(PATIENCE_S)
        for sample in samples:
            stream.push(sample)
        stream.drain(PATIENCE_S)
        with Later(stream) as later:
            # The last wild one may have looked elsewhere, and a saccade leads from there.
            t_ns = monotonic_ns()
            for number in range(40):
                stream.push_gaze(100, 60, t_ns + number * 5 * MS)
            result = later.mask()
        assert result.masks is not None
        report = stream.report()
        assert report.errors == {}
        counted = report.gaze_samples + report.dropped.get("gaze of another clock", 0)
        assert counted == len(samples) + 40


def test_gaze_that_is_there_before_the_first_frame_is_seen_is_answered(stream: Stream) -> None:
    with Later(stream) as later:
        stream.push_frame(picture())
        stream.push_gaze(100, 60)
        result = later.mask()
    assert result.masks is not None
    assert result.masks.binary[0, 60, 100]


def test_an_engine_or_a_listener_that_fails_does_not_end_the_stream(segmenter: Segmenter) -> None:
    def each(frame_result: FrameResult) -> None:
        raise RuntimeError("listener")

    with Stream(segmenter, each=each) as stream:
        look(stream, 100, 60)
        stream.push_frame(picture(1))
        stream.drain(PATIENCE_S)
        assert stream.report().errors["listener: RuntimeError: listener"] >= 1


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


def test_closing_ends_every_iteration_and_closing_again_does_nothing(segmenter: Segmenter) -> None:
    stream = Stream(segmenter)
    results = stream.results()
    look(stream, 100, 60)
    stream.close()
    stream.close()
    # What waited can still be read, and then it is over.
    assert [result.masks is not None for result in results] == [True]
    assert list(stream) == []
    stream.push_frame(picture())
    stream.push_gaze(1, 1)


def test_frames_that_come_too_fast_are_skipped_and_counted(stream: Stream) -> None:
    begin_ns = monotonic_ns()
    for number in range(50):
        stream.push(Frame(picture(number), number, begin_ns + number * MS))
    stream.drain(PATIENCE_S)
    report = stream.report()
    assert report.frames == 50
    assert report.encoded_frames <= 50 - report.skipped_frames


def test_tracked_boxes_are_answered_each_by_its_id(stream: Stream) -> None:
    look(stream, 100, 60)
    now_ns = monotonic_ns()
    boxes = [
        TrackedBox(7, now_ns, point_px=(60, 40)),
        TrackedBox(9, now_ns, point_px=(200, 90)),
        TrackedBox(11, now_ns, point_px=(float("nan"), 90)),
    ]
    with Later(stream) as later:
        stream.push_boxes(boxes)
        stream.drain(PATIENCE_S)
    found = {result.object_id: result for result in later.results if result.object_id is not None}
    assert found.keys() == {7, 9}
    for object_id, (x, y) in ((7, (60, 40)), (9, (200, 90))):
        masks = found[object_id].masks
        assert masks is not None
        assert masks.binary[0, y, x]
    assert stream.report().dropped["boxes invalid"] == 1


def test_what_is_followed_stays_until_it_is_dropped(segmenter: Segmenter) -> None:
    config = StreamConfig(
        scheduler=SchedulerConfig(max_encodes_per_s=1e6), follow=FollowConfig(least_likeness=-1)
    )
    with Stream(segmenter, config) as stream:
        with pytest.raises(InputError, match="nothing is masked"):
            stream.follow(3)
        look(stream, 100, 60)
        stream.follow(3)
        with Later(stream) as later:
            stream.push_frame(picture(10))
            stream.drain(PATIENCE_S)
        followed = [result for result in later.results if result.object_id == 3]
        assert followed
        assert followed[-1].x_px == pytest.approx(110, abs=8)
        stream.unfollow(3)
        with Later(stream) as later:
            stream.push_frame(picture(20))
            stream.drain(PATIENCE_S)
        assert [result for result in later.results if result.object_id == 3] == []


def test_a_followed_object_that_is_lost_is_said_to_be_once(segmenter: Segmenter) -> None:
    config = StreamConfig(
        scheduler=SchedulerConfig(max_encodes_per_s=1e6), follow=FollowConfig(least_predicted_iou=1, patience=1)
    )
    with Stream(segmenter, config) as stream:
        look(stream, 100, 60)
        stream.follow(3)
        with Later(stream) as later:
            for shift in (10, 20):
                stream.push_frame(picture(shift))
                stream.drain(PATIENCE_S)
        assert [result.status for result in later.results if result.object_id == 3] == ["lost"]


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


def test_a_frame_that_comes_again_and_a_camera_whose_clock_goes_back(stream: Stream) -> None:
    look(stream, 100, 60)
    begin_ns = monotonic_ns()
    for capture_ns in (begin_ns, begin_ns, begin_ns - 500 * MS):
        stream.push_frame(picture(1), capture_ns)
        stream.drain(PATIENCE_S)
    report = stream.report()
    assert report.dropped["frames that came again"] == 1
    assert report.errors == {}
    with Later(stream) as later:
        for number in range(40):
            stream.push_gaze(100, 60, monotonic_ns() + number * 5 * MS)
        assert later.mask().masks is not None


@pytest.mark.parametrize("off_s", [-3600, 3600, 10**9])
def test_times_of_another_clock_are_refused(stream: Stream, off_s: int) -> None:
    t_ns = monotonic_ns() + off_s * 10**9
    with pytest.raises(InputError):
        stream.push_frame(picture(), t_ns)
    with pytest.raises(InputError):
        stream.push_gaze(1, 1, t_ns)


def test_closing_from_a_result_ends_everything(segmenter: Segmenter) -> None:
    ended = Event()

    def each(frame_result: FrameResult) -> None:
        if frame_result.results:
            running.close()

    running = Stream(segmenter, each=each)
    running.on_close(ended.set, last=True)
    running.push_frame(picture())
    for number in range(40):
        running.push_gaze(100, 60, monotonic_ns() + number * 5 * MS)
    assert ended.wait(PATIENCE_S)
    assert running.is_closed


def test_iterators_that_nobody_reads_are_forgotten(stream: Stream) -> None:
    for _ in range(20):
        iter(stream)
    started = iter(stream)
    look(stream, 100, 60)
    assert next(started).masks is not None


def test_frames_and_gaze_of_another_clock_are_counted(stream: Stream) -> None:
    unix_ns = monotonic_ns() + 10**18
    stream.push(Frame(picture(), 0, unix_ns))
    stream.push(GazeSample(unix_ns, 0.5, 0.5, clock="host"))
    assert stream.report().dropped == {"frames of another clock": 1, "gaze of another clock": 1}


def test_what_a_source_lost_is_in_the_report(stream: Stream) -> None:
    class Losing:
        name = "losing"
        dropped: Mapping[str, int] = {"malformed": 3}
        reconnects = 2

        def __init__(self) -> None:
            self.closed = Event()

        def __iter__(self) -> Iterator[GazeSample]:
            yield GazeSample(monotonic_ns(), 0.5, 0.5, clock="host")

        def close(self) -> None:
            self.closed.set()

    source = Losing()
    stream.play(source)
    report = stream.report()
    assert (report.dropped["messages malformed"], report.reconnects) == (3, 2)
    stream.close()
    assert source.closed.is_set()
    late = Losing()
    stream.play(late)
    assert late.closed.is_set()


def test_an_unclosed_stream_does_not_abort_python_and_keeps_its_outputs(tmp_path: Path) -> None:
    program = """
import sam_edge
from sam_edge.streaming.gaze.sample import GazeSample
gaze = [GazeSample(t * 5_000_000, 0.5, 0.5) for t in range(400)]
running = sam_edge.stream("scene:0", gaze, runtime="null", sinks=["seen.jsonl"])
print(next(iter(running)).status)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["seen.jsonl"]
