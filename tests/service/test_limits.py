"""Rates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sam_edge.service.limits import Bucket, Rates


@given(st.lists(st.floats(0, 2), max_size=200), st.floats(0.5, 50))
def test_no_more_come_through_than_the_rate_and_one_burst(pauses: list[float], per_s: float) -> None:
    now = [0.0]
    bucket = Bucket(per_s, lambda: now[0])
    passed = 0
    for pause in pauses:
        now[0] += pause
        passed += bucket.take()
        assert passed <= 2 * per_s + now[0] * per_s + 1e-6


def test_addresses_do_not_share_a_rate() -> None:
    rates = Rates(1.0, lambda: 0.0)
    assert [rates.take("a") for _ in range(3)] == [True, True, False]
    assert rates.take("b")
