"""The whole chain: what asks for a mask, what holds it, and that nothing a tracker sends upsets it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.filters.blink import NO_DROPS, DropReason
from sam_edge.streaming.gaze.filters.chain import Filtered, GazeState, step
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.sample import GazeSample

WH = (1600, 1200)
CONFIG = GazeFilterConfig(horizontal_fov_deg=100.0)
MS = 1_000_000
DEGREE = 0.01
"""In x_norm; in y_norm it is 4/3 of that."""

positions = st.one_of(
    st.floats(0, 1), st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0, -0.01, 1.01])
)
steps_ns = st.one_of(
    st.integers(1, 40 * MS), st.sampled_from([0, -1, -5 * MS, -10_000 * MS, 10_000 * MS, 200 * MS, 5 * MS])
)
confidences = st.one_of(st.just(1.0), st.floats())


@st.composite
def streams(draw: st.DrawFn) -> list[GazeSample]:
    """Anything a network may bring."""
    t_ns, samples = draw(st.integers(-(10**18), 2 * 10**18)), []
    for gap_ns in draw(st.lists(steps_ns, max_size=60)):
        t_ns += gap_ns
        samples.append(GazeSample(t_ns, draw(positions), draw(positions), draw(confidences)))
    return samples


@st.composite
def wanderings(draw: st.DrawFn) -> list[GazeSample]:
    """A sound tracker's gaze: times rise, and each point is a random step from the one before."""
    t_ns, x, y, samples = 0, 0.5, 0.5, []
    for gap_ns in draw(st.lists(st.integers(1, 60 * MS), min_size=1, max_size=80)):
        t_ns += gap_ns
        size = draw(st.sampled_from([0.1, 0.5, 3.0])) * DEGREE
        x = min(1.0, max(0.0, x + size * draw(st.floats(-1, 1))))
        y = min(1.0, max(0.0, y + size * draw(st.floats(-1, 1))))
        samples.append(GazeSample(t_ns, x, y))
    return samples


def run(
    samples: Iterable[GazeSample],
    config: GazeFilterConfig = CONFIG,
    flow_px_s: tuple[float, float] = (0.0, 0.0),
    state: GazeState | None = None,
) -> tuple[GazeState, list[Filtered]]:
    state, answers = state or GazeState(), []
    for sample in samples:
        state, answer = step(state, sample, WH, config, flow_px_s=flow_px_s)
        answers.append(answer)
    return state, answers


def gaze(
    rate_hz: float, path: Sequence[tuple[float, float, float]], *, noise_deg: float = 0.0, seed: int = 0
) -> list[GazeSample]:
    """Samples along corners (t_s, x_deg, y_deg), straight between them."""
    rng, samples = random.Random(seed), []
    for (t0, x0, y0), (t1, x1, y1) in pairwise(path):
        for number in range(math.ceil(t0 * rate_hz - 1e-9), math.ceil(t1 * rate_hz - 1e-9)):
            part = (number / rate_hz - t0) / (t1 - t0)
            x = x0 + part * (x1 - x0) + rng.gauss(0, noise_deg)
            y = y0 + part * (y1 - y0) + rng.gauss(0, noise_deg)
            samples.append(GazeSample(round(number / rate_hz * 1e9), x * DEGREE, y * DEGREE * 4 / 3))
    return samples


def count(answers: Iterable[Filtered], action: str) -> int:
    return sum(answer.action == action for answer in answers)


@given(streams())
def test_nothing_raises_and_counters_keep_their_keys(samples: list[GazeSample]) -> None:
    state, answers = run(samples)
    assert set(state.drops) == set(NO_DROPS)
    assert [answer.sample for answer in answers] == samples
    assert all(answer.phase in ("settling", "fixation", "pursuit") for answer in answers if answer.fixation_id)
    for answer in answers:
        if answer.action != "skip":
            assert 0 <= answer.x_px <= WH[0] + 1e-6
            assert 0 <= answer.y_px <= WH[1] + 1e-6


@given(streams(), st.floats(0, 1), st.floats(0, 1), st.sampled_from([1_000 * MS, -1_000 * MS]))
def test_one_good_sample_after_a_pause_or_another_clock_is_enough(
    samples: list[GazeSample], x: float, y: float, jump_ns: int
) -> None:
    state, _ = run(samples)
    newest = max((sample.t_ns for sample in samples), default=0) if jump_ns > 0 else None
    if newest is None:
        newest = min((sample.t_ns for sample in samples), default=0)
    _, answer = step(state, GazeSample(newest + jump_ns, x, y), WH, CONFIG)
    assert (answer.action, answer.phase) == ("decode", "settling")
    assert (answer.x_px, answer.y_px) == pytest.approx((x * WH[0], y * WH[1]))


@given(streams())
def test_the_state_has_a_bound(samples: list[GazeSample]) -> None:
    state, _ = run(samples)
    assert len(state.velocity.points) <= 32
    assert state.look is None or len(state.look.dispersion.ranges) <= 18


@pytest.mark.parametrize("gap_ns", [1, 1_000, 100_000, MS])
def test_a_fast_tracker_does_not_fill_the_state(gap_ns: int) -> None:
    state, _ = run(GazeSample(number * gap_ns, 0.5, 0.5) for number in range(500))
    assert len(state.velocity.points) <= 32
    assert state.look is not None
    assert len(state.look.dispersion.ranges) <= 18


@given(wanderings())
def test_the_smoothed_point_lies_in_the_hull_of_its_looks_samples(samples: list[GazeSample]) -> None:
    _, answers = run(samples)
    looks: dict[int, list[tuple[float, float]]] = {}
    for answer in answers:
        if answer.fixation_id is None:
            continue
        seen = looks.setdefault(answer.fixation_id, [])
        seen.append(answer.sample.to_px(WH))
        for angle in range(0, 360, 15):
            x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            assert x * answer.x_px + y * answer.y_px <= max(x * px + y * py for px, py in seen) + 1e-6


@given(wanderings(), st.data())
def test_an_overtaken_or_doubled_sample_changes_nothing_but_its_counter(
    samples: list[GazeSample], data: st.DataObject
) -> None:
    state, answers = run(samples)
    back_ns = data.draw(st.sampled_from([0, 1, 100 * MS]))
    after, answer = step(state, GazeSample(samples[-1].t_ns - back_ns, 0.1, 0.1), WH, CONFIG)
    reason: DropReason = "late" if back_ns else "repeated"
    assert after.drops[reason] == state.drops[reason] + 1
    assert (answer.x_px, answer.y_px, answer.phase) == (answers[-1].x_px, answers[-1].y_px, answers[-1].phase)
    assert answer.action == ("skip" if answers[-1].action == "skip" else "hold")
    follower = GazeSample(samples[-1].t_ns + 5 * MS, 0.3, 0.3)
    assert step(after, follower, WH, CONFIG)[1] == step(state, follower, WH, CONFIG)[1]


@given(wanderings())
def test_a_step_is_a_function_of_its_arguments(samples: list[GazeSample]) -> None:
    state, _ = run(samples[:-1])
    assert step(state, samples[-1], WH, CONFIG) == step(state, samples[-1], WH, CONFIG)


def test_a_clock_that_goes_back_a_little_begins_anew_with_the_second_sample() -> None:
    state, _ = run(gaze(200, [(0, 50, 40), (1, 50, 40)]))
    state, answers = run([GazeSample(900 * MS, 0.2, 0.2), GazeSample(905 * MS, 0.2, 0.2)], state=state)
    assert [answer.action for answer in answers] == ["hold", "decode"]
    assert (state.drops["late"], state.drops["backwards"]) == (1, 1)


def test_a_gap_of_ten_seconds_is_counted_and_begins_a_new_look() -> None:
    state, _ = run([*gaze(200, [(0, 50, 40), (1, 50, 40)]), GazeSample(11_000 * MS, 0.5, 0.5)])
    assert (state.looks, state.drops["gap"]) == (2, 1)


def test_frames_of_another_size_need_another_mask() -> None:
    state, _ = run(gaze(200, [(0, 50, 40), (1, 50, 40)]))
    state, answer = step(state, GazeSample(1_000 * MS, 0.5, 0.5), (640, 480), CONFIG)
    assert answer.action == "decode"
    assert (answer.x_px, answer.y_px) == pytest.approx((320, 240))
    assert state.drops["resized"] == 1


@pytest.mark.parametrize("rate_hz", [1000, 200, 120, 60, 30])
def test_a_saccade_between_two_looks(rate_hz: float) -> None:
    samples = gaze(rate_hz, [(0, 40, 40), (1, 40, 40), (1.05, 55, 40), (2, 55, 40)], noise_deg=0.2)
    state, answers = run(samples)
    assert state.looks == 2
    saccade = [answer for answer in answers if answer.phase == "saccade"]
    assert all(answer.action == "skip" for answer in saccade)
    during = [answer for answer in saccade if 1.0 <= answer.sample.t_ns / 1e9 <= 1.05 + 2 / rate_hz + 0.02]
    assert during
    # The new look asks as soon as the eye has landed, and from there.
    first = next(answer for answer in answers if answer.fixation_id == 2)
    assert first.action == "decode"
    assert first.x_px / 16 == pytest.approx(55, abs=1.5)
    assert first.sample.t_ns / 1e9 <= 1.05 + max(0.03, 2.1 / rate_hz)


def test_a_fast_saccade_is_seen_at_its_first_sample() -> None:
    _, answers = run(gaze(200, [(0, 40, 40), (1, 40, 40), (1.05, 55, 40), (2, 55, 40)], noise_deg=0.05))
    first = next(answer for answer in answers if answer.phase == "saccade")
    assert first.sample.t_ns == 1_005 * MS


def test_a_single_outlier_is_skipped_and_its_look_goes_on() -> None:
    samples = gaze(200, [(0, 50, 40), (1, 50, 40)], noise_deg=0.05)
    samples[100] = GazeSample(samples[100].t_ns, 0.58, 0.5333)
    state, answers = run(samples)
    assert answers[100].action == "skip"
    assert (state.looks, count(answers[101:], "decode")) == (1, 0)


@pytest.mark.parametrize("rate_hz", [200, 60, 30])
def test_noise_asks_for_no_new_masks(rate_hz: float) -> None:
    samples = gaze(rate_hz, [(0, 50, 40), (10, 50, 40)], noise_deg=0.15)
    state, answers = run(samples)
    assert state.looks == 1
    assert count(answers, "decode") <= 10
    assert count(answers, "skip") <= 0.01 * len(samples)
    assert {answer.phase for answer in answers[-len(answers) // 2 :]} <= {"fixation", "pursuit", "saccade"}
    # The held point is there for whoever wants to decode it again.
    assert (answers[-1].x_px, answers[-1].y_px) == pytest.approx((800, 640), abs=8)


def test_rest_is_a_fixation_and_following_a_pursuit_that_asks_again() -> None:
    _, answers = run(gaze(200, [(0, 30, 40), (1, 30, 40), (2.25, 80, 40)]))
    assert answers[150].phase == "fixation"
    follows = answers[230:]
    assert {answer.phase for answer in follows} == {"pursuit"}
    assert {answer.fixation_id for answer in follows} == {1}
    # 40 degrees a second; one mask for each half of a degree, or the sample after it.
    assert 60 <= count(follows, "decode") <= 88
    assert all(abs(answer.x_px - answer.sample.to_px(WH)[0]) < 1.0 * 16 for answer in follows)


def test_a_head_that_turns_is_no_saccade_if_the_flow_is_known() -> None:
    turning = gaze(200, [(0, 10, 40), (0.5, 10, 40), (1.2, 80, 40)])
    _, blind = run(turning)
    assert blind[-1].phase == "saccade"
    state, _ = run(turning[:100])
    _, seeing = run(turning[100:], flow_px_s=(1_600.0, 0.0), state=state)
    assert {answer.phase for answer in seeing} == {"fixation", "pursuit"}


@pytest.mark.parametrize("flow", [(math.nan, 0.0), (0.0, math.inf), (1e300, -1e300)])
def test_a_flow_that_cannot_be_is_not_used(flow: tuple[float, float]) -> None:
    samples = gaze(200, [(0, 40, 40), (1, 40, 40), (1.05, 55, 40), (2, 55, 40)])
    assert run(samples, flow_px_s=flow) == run(samples)


def test_a_blink_holds_the_mask_for_a_while() -> None:
    closed = [GazeSample(at * MS, 0.9, 0.9, confidence=0.1) for at in range(1_000, 1_700, 5)]
    state, answers = run([*gaze(200, [(0, 50, 40), (1, 50, 40)]), *closed])
    held = [answer for answer in answers if answer.phase == "blink"]
    assert {answer.action for answer in held} == {"hold"}
    assert all((answer.x_px, answer.y_px) == pytest.approx((800, 640), abs=1) for answer in held)
    assert held[-1].sample.t_ns == 1_495 * MS
    assert (answers[-1].phase, answers[-1].action) == ("no_gaze", "skip")
    assert state.drops["low_confidence"] == len(closed)
    _, after = step(state, GazeSample(1_700 * MS, 0.5, 0.5), WH, CONFIG)
    assert (after.action, after.fixation_id) == ("decode", 2)


def test_a_short_dropout_does_not_end_a_look() -> None:
    samples = gaze(200, [(0, 50, 40), (1, 50, 40)])
    samples[100] = GazeSample(samples[100].t_ns, math.nan, 0.5)
    state, answers = run(samples)
    assert (state.looks, count(answers, "decode"), answers[100].action) == (1, 1, "hold")


def test_gaze_outside_of_the_frame_shows_nothing_and_asks_when_it_is_back() -> None:
    inside = gaze(200, [(0, 50, 40), (0.5, 50, 40)])
    outside = [GazeSample(500 * MS, 1.2, 0.5), GazeSample(505 * MS, 1.2, 0.5)]
    _, answers = run([*inside, *outside, GazeSample(510 * MS, 0.5, 0.5333)])
    assert [(answer.phase, answer.action) for answer in answers[-3:-1]] == [("outside", "skip")] * 2
    assert answers[-2].x_px == pytest.approx(1920)
    assert (answers[-1].action, answers[-1].fixation_id) == ("decode", 1)
