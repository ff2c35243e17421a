"""Clicks land where the protocol says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam_edge.synthetic.gaze.clicks import centre_click, correcting_click, displaced, random_click

masks = arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))
pairs = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_centre_of_a_rectangle() -> None:
    x, y = centre_click(rectangle(10, 20, 21, 31))
    assert (x, y) == (15, 25)


def test_the_border_of_the_image_is_an_edge() -> None:
    x, y = centre_click(rectangle(0, 0, 60, 40))
    assert 19 <= x <= 40
    assert y in (19, 20)


@given(masks.filter(np.any), st.integers(0, 99))
def test_first_clicks_are_on_the_mask(mask: np.ndarray, seed: int) -> None:
    for x, y in (centre_click(mask), random_click(mask, np.random.default_rng(seed))):
        assert mask[int(y), int(x)]


@given(pairs)
def test_a_correction_is_in_the_error_and_says_which(pair: tuple[np.ndarray, np.ndarray]) -> None:
    answer, truth = pair
    x, y, label = correcting_click(answer, truth)
    if (answer != truth).any():
        assert answer[int(y), int(x)] != truth[int(y), int(x)]
        assert bool(label) == truth[int(y), int(x)]
    else:
        assert label == 1
        assert truth[int(y), int(x)] or not truth.any()


def test_the_wider_error_is_corrected_first() -> None:
    truth = rectangle(5, 5, 35, 35)
    answer = rectangle(5, 5, 33, 35) | rectangle(40, 5, 55, 20)
    x, y, label = correcting_click(answer, truth)
    assert label == 0
    assert 40 <= x < 55
    assert 5 <= y < 20


def test_no_click_twice() -> None:
    truth = rectangle(10, 10, 20, 20)
    clicked = np.zeros_like(truth)
    seen = set()
    for _ in range(20):
        x, y, _ = correcting_click(np.zeros_like(truth), truth, clicked)
        seen.add((x, y))
        clicked[int(y), int(x)] = True
    assert len(seen) == 20


@pytest.mark.parametrize("distance", [0.0, 7.5])
def test_displaced_by_exactly_that_much(distance: float) -> None:
    x, y = displaced((50, 50), distance, (100, 100), np.random.default_rng(0))
    assert np.hypot(x - 50, y - 50) == pytest.approx(distance)


def test_displaced_stays_in_the_image() -> None:
    for seed in range(20):
        x, y = displaced((1, 1), 30, (100, 80), np.random.default_rng(seed))
        assert 0 <= x <= 99
        assert 0 <= y <= 79
