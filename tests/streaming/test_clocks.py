"""Offsets between clocks."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.clocks import ECHOES, SPANS, DelayOffset, EchoOffset

MS = 1_000_000
SECOND = 1_000 * MS


def heard(estimate: DelayOffset, offset_ns: int, delays_ms: list[float], begin_ns: int) -> DelayOffset:
    """The estimate after samples at 200 Hz from a clock that is behind by `offset_ns`."""
    for number, delay_ms in enumerate(delays_ms):
        sent_ns = begin_ns + number * 5 * MS
        estimate = estimate.after(sent_ns - offset_ns, sent_ns + round(delay_ms * MS))
    return estimate


@given(st.integers(-(10**18), 10**18), st.lists(st.floats(1, 40), min_size=1, max_size=60))
def test_the_shortest_delay_counts(offset_ns: int, delays_ms: list[float]) -> None:
    estimate = heard(DelayOffset(), offset_ns, delays_ms, 0)
    assert estimate.offset_ns == offset_ns + min(round(delay * MS) for delay in delays_ms)
    assert len(estimate.spans) <= SPANS


def test_nothing_is_known_before_the_first_message() -> None:
    assert DelayOffset().offset_ns is None
    assert EchoOffset().offset_ns is None


def test_an_old_short_delay_is_forgotten_so_that_drift_is_followed() -> None:
    estimate = heard(DelayOffset(), 0, [1.0], 0)
    estimate = heard(estimate, 0, [3.0] * 200 * 12, SECOND)
    assert estimate.offset_ns == 3 * MS


@given(st.sampled_from([-3600, -2, 2, 3600]))
def test_a_clock_that_is_set_is_followed_within_a_quarter_second(jump_s: int) -> None:
    estimate = heard(DelayOffset(), 0, [2.0] * 400, 0)
    moved = heard(estimate, jump_s * SECOND, [2.0] * 50, 3 * SECOND)
    assert moved.offset_ns == jump_s * SECOND + 2 * MS


def test_single_wrong_times_and_a_burst_after_a_stall_change_nothing() -> None:
    estimate = heard(DelayOffset(), 0, [2.0] * 400, 0)
    wrong = estimate.after(0, 3 * SECOND).after(9 * SECOND, 3 * SECOND + 5 * MS)
    assert wrong.offset_ns == 2 * MS
    # The network stood for a second, then everything came at once.
    for number in range(200):
        wrong = wrong.after(3 * SECOND + number * 5 * MS, 4 * SECOND + number * 10_000)
    assert wrong.offset_ns == 2 * MS


def test_the_median_of_echoes_ignores_slow_ones() -> None:
    estimate = EchoOffset()
    rng = random.Random(0)
    for number in range(3 * ECHOES):
        sent_ns = number * SECOND
        there, back = (rng.uniform(0.5, 1.5), rng.uniform(0.5, 1.5)) if number % 5 else (1.0, 200.0)
        estimate = estimate.after(
            sent_ns, sent_ns + round(there * MS) - 7 * SECOND, sent_ns + round((there + back) * MS)
        )
    assert estimate.offset_ns is not None
    assert abs(estimate.offset_ns - 7 * SECOND) < MS
    assert len(estimate.offsets_ns) == ECHOES
