"""The 1-euro filter against its paper."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.filters.one_euro import Smoothed, smooth

CONFIG = GazeFilterConfig(min_cutoff_hz=1.2, beta=0.3, derivative_cutoff_hz=1.0)


def paper(values: list[float], dt_s: float) -> float:
    """Algorithms 1 and 2 of Casiez, Roussel and Vogel (2012), in one dimension."""

    def alpha(cutoff_hz: float) -> float:
        return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff_hz) / dt_s)

    x_hat, dx_hat = values[0], 0.0
    for x in values[1:]:
        weight = alpha(1.0)
        dx_hat = weight * (x - x_hat) / dt_s + (1 - weight) * dx_hat
        weight = alpha(1.2 + 0.3 * abs(dx_hat))
        x_hat = weight * x + (1 - weight) * x_hat
    return x_hat


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(1_000_000, 100_000_000))
def test_one_dimension_is_the_papers(values: list[float], dt_ns: int) -> None:
    across = Smoothed(0, values[0], 7.0)
    down = Smoothed(0, 7.0, values[0])
    for number, value in enumerate(values[1:], 1):
        across = smooth(across, number * dt_ns, value, 7.0, CONFIG)
        down = smooth(down, number * dt_ns, 7.0, value, CONFIG)
    assert across.x_deg == pytest.approx(paper(values, dt_ns * 1e-9), abs=1e-9)
    assert down.y_deg == across.x_deg
    assert down.x_deg == pytest.approx(7.0)


def test_a_step_is_followed_as_fast_at_any_rate() -> None:
    slow = GazeFilterConfig(min_cutoff_hz=1.0, beta=0.0)
    ends = []
    for rate_hz in (100, 1000):
        point = Smoothed(0, 0.0, 0.0)
        for number in range(1, rate_hz // 4 + 1):
            point = smooth(point, number * 10**9 // rate_hz, 1.0, 0.0, slow)
        ends.append(point.x_deg)
    # 1 - exp(-2 pi / 4) of a first-order low-pass.
    assert ends == pytest.approx([0.792, 0.792], abs=0.02)
