"""What comes in wrong is counted, and the stream goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event
from time import monotonic_ns

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sources.source import Frame
from tests.streaming.live.watching import MS, PATIENCE_S, Later, look, picture

SAMPLES = st.builds(
    GazeSample,
    st.integers(-(2**63), 2**63),
    st.floats(),
    st.floats(),
    st.floats(),
    st.sampled_from(["host", "source"]),
)


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


def test_an_engine_or_a_listener_that_fails_does_not_end_the_stream(segmenter: Segmenter) -> None:
    def each(frame_result: FrameResult) -> None:
        raise RuntimeError("listener")

    with Stream(segmenter, each=each) as stream:
        look(stream, 100, 60)
        stream.push_frame(picture(1))
        stream.drain(PATIENCE_S)
        assert stream.report().errors["listener: RuntimeError: listener"] >= 1


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
