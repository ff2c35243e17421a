"""The mean change of masks that follow one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.flicker import Flicker, change


def test_change_is_what_the_masks_do_not_share() -> None:
    before, now = np.full((4, 4), -1, np.float32), np.full((4, 4), -1, np.float32)
    before[:2], now[1:3] = 1, 1
    assert change(before, now) == pytest.approx(2 / 3)
    assert change(before, before) == 0


def test_nothing_is_known_before_the_first_pair() -> None:
    assert math.isnan(Flicker().mean)
    assert math.isnan(Flicker().jump_share)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_mean_and_jumps(changes: list[float]) -> None:
    flicker = Flicker()
    for changed in changes:
        flicker = flicker.then(changed)
    assert flicker.mean == pytest.approx(np.mean(changes))
    assert flicker.jump_share == pytest.approx(np.mean([changed > 0.5 for changed in changes]))
