"""Times of a recording become times of the frames, on a clock that is named."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.clock import (
    UNITS,
    TimeUnit,
    check_overlap,
    choose_clock,
    to_frame_clock,
)
from sam_edge.streaming.gaze.sample import GazeClock, GazeSample
from sam_edge.streaming.sources.source import SourceInfo

S = 10**9
VIDEO = SourceInfo((640, 480), 25.0, length=200, start_ns=0)
LATE_VIDEO = SourceInfo((640, 480), 25.0, length=200, start_ns=667_000_000, unix_ns=1_700_000_000 * S)
UNKNOWN_LENGTH = SourceInfo((640, 480), 25.0)


def at(*times_s: float) -> list[GazeSample]:
    return [GazeSample(round(t * S), 0.5, 0.5) for t in times_s]


def frame_times_s(times_s: list[float], info: SourceInfo = VIDEO, **asked: object) -> list[float]:
    samples = at(*times_s)
    return [s.t_ns / S for s in to_frame_clock(samples, choose_clock(samples, info, **asked))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first_s", "info", "clock"),
    [
        (1.5, VIDEO, "video"),
        (-1.5, VIDEO, "video"),
        (0.0, VIDEO, "video"),
        (7.99, VIDEO, "video"),
        (8.0, VIDEO, "first-sample"),
        (1_760_676_790.5, VIDEO, "first-sample"),
        # Before the first frame and after the zero of the file's clock.
        (0.3, LATE_VIDEO, "video"),
        (8.5, LATE_VIDEO, "video"),
        (-1.0, UNKNOWN_LENGTH, "video"),
        (0.0, UNKNOWN_LENGTH, "video"),
    ],
)
def test_the_first_time_tells_the_clock(first_s: float, info: SourceInfo, clock: GazeClock) -> None:
    samples = at(first_s, first_s + 1)
    mapping = choose_clock(samples, info)
    assert mapping.clock == clock
    assert clock in str(mapping)
    moved = to_frame_clock(samples, mapping)
    assert moved[0].t_ns == (samples[0].t_ns if clock == "video" else info.start_ns)
    assert all(sample.clock == clock for sample in moved)


def test_without_a_length_a_later_first_time_is_asked_about() -> None:
    with pytest.raises(InputError, match="--gaze-clock"):
        choose_clock(at(1.5, 2.5), UNKNOWN_LENGTH)
    assert frame_times_s([1.5, 2.5], UNKNOWN_LENGTH, clock="first-sample") == [0, 1]


def test_the_user_decides() -> None:
    assert frame_times_s([1.5, 2.5], clock="first-sample") == [0, 1]
    assert frame_times_s([1.5, 2.5], LATE_VIDEO, clock="first-sample") == [0.667, 1.667]
    assert frame_times_s([1.5, 2.5], offset_s=-0.25) == [1.25, 2.25]
    assert frame_times_s([1_700_000_001.5], LATE_VIDEO, clock="unix", offset_s=0.5) == [2.0]
    with pytest.raises(InputError, match="does not say when it was taken"):
        choose_clock(at(1_700_000_001.5), VIDEO, clock="unix")


times = st.lists(st.integers(-(10**19), 10**19), min_size=1, max_size=20, unique=True).map(sorted)
clocks = st.sampled_from(["video", "first-sample", "unix"])


@given(times, clocks, st.floats(-1e6, 1e6), st.sampled_from([VIDEO, LATE_VIDEO]))
def test_mapping_moves_all_samples_by_one_amount(
    times_ns: list[int], clock: GazeClock, offset_s: float, info: SourceInfo
) -> None:
    assume(clock != "unix" or info.unix_ns is not None)
    samples = [GazeSample(t, 0.1, 0.2, 0.3) for t in times_ns]
    mapping = choose_clock(samples, info, clock=clock, offset_s=offset_s, unit="s")
    moved = to_frame_clock(samples, mapping)
    assert {after.t_ns - before.t_ns for before, after in zip(samples, moved, strict=True)} == {
        mapping.offset_ns
    }
    assert all(
        (s.x_norm, s.y_norm, s.confidence, s.offset_ns) == (0.1, 0.2, 0.3, mapping.offset_ns) for s in moved
    )
    if clock == "first-sample":
        assert moved[0].t_ns == info.start_ns + round(offset_s * S)
    # What the report says reproduces the run.
    again = choose_clock(samples, info, clock="video", offset_s=0, unit="s")
    assert [s.t_ns + mapping.offset_ns for s in to_frame_clock(samples, again)] == [s.t_ns for s in moved]


rates = st.floats(0.2, 4000)


@given(rates, st.floats(0.05, 20), st.sampled_from(["ms", "us", "ns"]), st.floats(0, 1e9))
def test_other_units_are_named_and_can_be_given(
    rate_hz: float, share: float, unit: TimeUnit, start_s: float
) -> None:
    """A recording of a tracker's rate that lasts 1/20 to 20 times as long as the video."""
    assume(rate_hz * 8 * share >= 2)
    count = min(50, int(rate_hz * 8 * share) + 1)
    per_s = UNITS[unit][1]
    step_ns = round(8 * share / (count - 1) * per_s * S)
    samples = [GazeSample(round(start_s * per_s) * S + k * step_ns, 0.5, 0.5) for k in range(count)]
    with pytest.raises(InputError, match=UNITS[unit][0]) as refused:
        choose_clock(samples, VIDEO)
    assert f"--gaze-unit {unit}" in (refused.value.hint or "")
    moved = to_frame_clock(samples, choose_clock(samples, VIDEO, unit=unit))
    span_s = (moved[-1].t_ns - moved[0].t_ns) / S
    assert span_s == pytest.approx(8 * share, rel=1e-3)


@given(st.floats(0.5, 2000), st.floats(0.1, 25), st.floats(-3, 2e9))
def test_seconds_pass_also_where_the_recording_is_longer_or_slow(
    rate_hz: float, share: float, start_s: float
) -> None:
    count = int(rate_hz * 8 * share)
    assume(count >= 2)
    step_ns = round(S / rate_hz)
    samples = [GazeSample(round(start_s * S) + k * step_ns, 0.5, 0.5) for k in (0, 1, count - 1)][
        : min(3, count)
    ]
    assert choose_clock(samples, VIDEO).unit == "s"


def test_an_hour_of_a_fast_tracker_fits_a_short_video() -> None:
    samples = [GazeSample(k * S // 200, 0.5, 0.5) for k in range(3600 * 200)]
    assert choose_clock(samples, VIDEO).unit == "s"


@pytest.mark.parametrize(
    "times_s",
    [
        # 1,000 Hz in whole milliseconds, 2,000 Hz in halves, both for half of the video: 1 and 2 Hz as seconds.
        [3_098_681.0 + k for k in range(4000)],
        [3_098_681.0 + k / 2 for k in range(8000)],
    ],
)
def test_fast_trackers_in_milliseconds(times_s: list[float]) -> None:
    with pytest.raises(InputError, match="milliseconds"):
        choose_clock(at(*times_s), VIDEO)


def test_gaze_that_meets_no_frame() -> None:
    check_overlap(at(-1, 7.9, 9), VIDEO)
    for times_s in ([-2.0, -1.0], [8.0, 9.0]):
        with pytest.raises(InputError, match="no gaze sample falls into the video"):
            check_overlap(at(*times_s), VIDEO)
    check_overlap(at(1e6), UNKNOWN_LENGTH)
