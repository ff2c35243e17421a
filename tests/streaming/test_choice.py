"""One of three masks is chosen, with memory inside a fixation and without it after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize
from sam_edge.masks import Masks
from sam_edge.streaming.choice import ChoiceConfig, choose

VIEW = InputSize(long_side=512, multiple=32, square=False).view((1280, 720))
CELL_PX = 10
"""Frame pixels per logit."""


def disc(x_px: float, y_px: float, radius_px: float) -> np.ndarray:
    ys, xs = (np.mgrid[0:72, 0:128] + 0.5) * CELL_PX
    return np.asarray(radius_px - np.hypot(xs - x_px, ys - y_px), np.float32)


def masks(*planes: np.ndarray, iou: tuple[float, ...]) -> Masks:
    return Masks(np.stack(planes), np.array(iou, np.float32), VIEW)


SMALL, LARGE, AWAY = disc(600, 300, 60), disc(600, 300, 200), disc(1100, 600, 80)


def test_without_memory_the_highest_predicted_iou_is_chosen() -> None:
    found = choose(masks(SMALL, LARGE, AWAY, iou=(0.8, 0.7, 0.6)))
    assert found.index == 0
    assert found.overlaps is None


def test_what_was_shown_stays_when_another_becomes_a_little_better() -> None:
    now = masks(SMALL, LARGE, AWAY, iou=(0.7, 0.75, 0.6))
    assert choose(now, now[0], (600, 300)).index == 0
    assert choose(now, now[1], (600, 300)).index == 1


def test_what_was_shown_does_not_count_where_the_eye_does_not_look() -> None:
    now = masks(SMALL, LARGE, AWAY, iou=(0.7, 0.75, 0.6))
    found = choose(now, now[2], (600, 300))
    assert (found.index, found.overlaps) == (1, None)


def test_a_gaze_just_beside_the_mask_still_rests_on_it() -> None:
    now = masks(SMALL, LARGE, AWAY, iou=(0.7, 0.75, 0.6))
    assert choose(now, now[0], (600 + 60 + 8, 300)).index == 0
    assert choose(now, now[0], (600 + 60 + 40, 300)).index == 1
    assert choose(now, now[0], (float("nan"), 300)).index == 1


def test_everything_round_a_point_is_seldom_meant() -> None:
    everything = np.ones_like(SMALL)
    now = masks(SMALL, everything, AWAY, iou=(0.7, 0.75, 0.6))
    assert choose(now).index == 0
    assert choose(now, config=ChoiceConfig(size=0)).index == 1


def test_padding_is_no_area() -> None:
    square = InputSize(long_side=512, multiple=32, square=True).view((1280, 720))
    seen = np.zeros((128, 128), np.float32) - 1
    seen[:72] = 1
    twice = Masks(np.stack([seen, seen]), np.array([0.5, 0.6], np.float32), square)
    half = ChoiceConfig(size=0.1, usual_share=0.5)
    assert choose(twice, config=half).scores.tolist() == pytest.approx([0.4, 0.5])


def test_memory_of_another_view_is_brought_into_this_one() -> None:
    window = InputSize(long_side=512, multiple=32, square=False).view((1280, 720), (280, 120, 640, 360))
    ys, xs = (np.mgrid[0:72, 0:128] + 0.5) * CELL_PX / 2
    small = (60 - np.hypot(xs + 280 - 600, ys + 120 - 300)).astype(np.float32)
    large = (200 - np.hypot(xs + 280 - 600, ys + 120 - 300)).astype(np.float32)
    now = Masks(np.stack([small, large]), np.array([0.7, 0.75], np.float32), window)
    before = masks(SMALL, iou=(0.7,))
    found = choose(now, before, (600, 300))
    assert found.index == 0
    assert found.overlaps is not None
    assert found.overlaps[0] > 0.95


@given(st.integers(0, 2), st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
def test_the_chosen_mask_stays_chosen_on_the_same_answer(first: int, iou: list[float]) -> None:
    """No flicker without a cause: the same answer again, with its own choice as memory, changes nothing."""
    now = masks(SMALL, LARGE, AWAY, iou=(iou[0], iou[1], iou[2]))
    chosen = choose(now, now[first], (600, 300)).index
    assert choose(now, now[chosen], (600, 300)).index == chosen


@pytest.mark.parametrize("wrong", [{"memory": -1}, {"usual_share": 0}, {"reach": 2}, {"size": float("nan")}])
def test_impossible_weights(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ChoiceConfig(**wrong)
