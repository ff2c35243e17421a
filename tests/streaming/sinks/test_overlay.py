"""What is drawn tells new masks from old ones."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from sam_edge.streaming.result import Freshness
from sam_edge.streaming.sinks.overlay import FRESHNESS_RGB, draw_mask, draw_result
from tests.streaming.sinks.made import WH, part, result

GREY = np.full((64, 128, 3), 90, np.uint8)
INSIDE = np.s_[16:40, 12:20]
"""In the mask, and off its outline, the gaze point and the caption."""


def masked(freshness: Freshness) -> np.ndarray:
    return draw_result(part(0), [], [result(0, freshness=freshness)])


@pytest.mark.parametrize("freshness", ["fresh", "carried"])
def test_a_mask_of_now_is_tinted_evenly(freshness: Freshness) -> None:
    inside = masked(freshness)[INSIDE].astype(int)
    assert np.ptp(inside, axis=(0, 1)).max() == 0
    colour = FRESHNESS_RGB[freshness]
    assert np.argmax(inside[0, 0]) == np.argmax(colour)
    assert abs(inside[0, 0] - 90).max() > 40


def test_a_stale_mask_is_hatched_and_has_no_colour() -> None:
    image = masked("stale").astype(int)
    inside = image[INSIDE]
    untouched = (inside == 90).all(axis=2)
    # Half of it is as it was.
    assert 0.3 < untouched.mean() < 0.7
    assert np.ptp(inside, axis=2).max() == 0
    # And its outline has holes.
    outline = (image[10:54, 8] != 90).any(axis=1)
    assert 0.2 < outline.mean() < 0.9


def test_every_freshness_has_its_colour() -> None:
    assert set(FRESHNESS_RGB) == set(get_args(Freshness))
    assert len(set(FRESHNESS_RGB.values())) == len(FRESHNESS_RGB)


def test_the_caption_has_the_colour_of_the_freshness() -> None:
    wide = (640, 360)
    for freshness, colour in FRESHNESS_RGB.items():
        shown = result(0, freshness=freshness, wh=wide)
        black = part(0)
        frame = np.zeros((360, 640, 3), np.uint8)
        object.__setattr__(black.frame, "image", frame)
        caption = draw_result(black, [], [shown])[342:]
        assert (caption == colour).all(axis=2).any()


def test_outside_the_mask_nothing_changes_and_the_frame_stays() -> None:
    step = part(0)
    image = draw_result(step, [], [result(0)])
    assert (image[:40, 70:] == 90).all()
    assert (step.frame.image == 90).all()


def test_all_objects_are_drawn_and_numbered() -> None:
    image = draw_result(part(0), [], [result(0, object_id=7)])
    plain = draw_result(part(0), [], [result(0)])
    assert (image[:44] != plain[:44]).any()


@pytest.mark.parametrize("place", [np.s_[0:0, 0:0], np.s_[:, :], np.s_[-1:, -1:], np.s_[0:1, :]])
@pytest.mark.parametrize("freshness", get_args(Freshness))
def test_any_mask_can_be_drawn(place: tuple[slice, slice], freshness: Freshness) -> None:
    mask = np.zeros((64, 128), bool)
    mask[place] = True
    canvas = GREY.copy()
    draw_mask(canvas, mask, freshness, "#1")
    assert canvas.shape == (WH[1], WH[0], 3)
    assert (canvas != 90).any() == mask.any()
