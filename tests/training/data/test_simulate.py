"""Simulated prompts land where they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_edge.training.data.simulate import (
    BACKGROUND,
    BOTTOM_RIGHT,
    EMPTY,
    FOREGROUND,
    POINT_TOO,
    TOP_LEFT,
    centre_click,
    correction,
    first_prompt,
    gaze_point,
    noisy_box,
)

SIDE = 64


@st.composite
def rectangles(draw: st.DrawFn) -> np.ndarray:
    x, y = draw(st.integers(0, SIDE - 4)), draw(st.integers(0, SIDE - 4))
    w, h = draw(st.integers(3, SIDE - x)), draw(st.integers(3, SIDE - y))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + h, x : x + w] = True
    return mask


def test_the_centre_is_the_pixel_farthest_from_the_edge() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:31, 5:16] = True
    x, y = centre_click(mask)
    assert x == 10
    assert 15 <= y <= 25


def test_the_border_of_the_image_is_an_edge() -> None:
    mask = np.ones((21, 21), bool)
    assert centre_click(mask) == (10, 10)


@settings(deadline=None, max_examples=300)
@given(rectangles(), st.integers(0, 2**32 - 1))
def test_gaze_never_lands_on_another_object(mask: np.ndarray, seed: int) -> None:
    others = np.zeros_like(mask)
    others[:, SIDE // 2 :] = True
    others &= ~mask
    x, y = gaze_point(mask, others, np.random.default_rng(seed), degree_px=5.0)
    assert 0 <= x <= SIDE - 1
    assert 0 <= y <= SIDE - 1
    assert not others[round(y), round(x)]


def test_gaze_sometimes_misses_and_mostly_hits() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[24:40, 24:40] = True
    rng = np.random.default_rng(0)
    points = [gaze_point(mask, np.zeros_like(mask), rng, 5.0) for _ in range(300)]
    hits = np.mean([mask[min(round(y), 63), min(round(x), 63)] for x, y in points])
    assert 0.6 < hits < 0.95


@settings(deadline=None, max_examples=60)
@given(rectangles(), st.integers(0, 2**32 - 1))
def test_a_noisy_box_is_ordered_and_inside(mask: np.ndarray, seed: int) -> None:
    x0, y0, x1, y1 = noisy_box(mask, np.random.default_rng(seed))
    assert 0 <= x0 <= x1 <= SIDE
    assert 0 <= y0 <= y1 <= SIDE


@settings(deadline=None, max_examples=60)
@given(rectangles(), st.integers(0, 2**32 - 1))
def test_a_first_prompt_is_a_point_a_box_or_both(mask: np.ndarray, seed: int) -> None:
    _, labels = first_prompt(mask, ~mask, np.random.default_rng(seed), 2.0, 6)
    used = tuple(labels[labels != EMPTY])
    assert used in {(FOREGROUND,), (TOP_LEFT, BOTTOM_RIGHT), (TOP_LEFT, BOTTOM_RIGHT, FOREGROUND)}
    assert len(labels) == 6


@pytest.mark.parametrize("share", [0.0, 0.28, 0.6, 1.0])
def test_as_many_first_prompts_have_a_box_as_asked(share: float) -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:40, 10:40] = True
    rng = np.random.default_rng(0)
    labels = [first_prompt(mask, ~mask, rng, 2.0, 6, share)[1] for _ in range(400)]
    boxed = np.mean([TOP_LEFT in each for each in labels])
    pointed = np.mean([FOREGROUND in each for each in labels])
    assert boxed == pytest.approx(share, abs=0.06)
    assert pointed == pytest.approx(1 - share * (1 - POINT_TOO), abs=0.06)


def test_a_correction_points_at_the_larger_error() -> None:
    wanted, predicted = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    wanted[0:20, 0:20] = True
    predicted[0:20, 15:60] = True
    x, y, label = correction(predicted, wanted, np.random.default_rng(2))
    assert label == BACKGROUND
    assert predicted[int(y), int(x)]
    assert not wanted[int(y), int(x)]
    x, y, label = correction(np.zeros_like(wanted), wanted, np.random.default_rng(2))
    assert label == FOREGROUND
    assert (x, y) == centre_click(wanted)


def test_a_perfect_answer_is_confirmed() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[5:30, 5:30] = True
    x, y, label = correction(mask, mask, np.random.default_rng(0))
    assert label == FOREGROUND
    assert mask[int(y), int(x)]
