"""Windows round what is looked at: where, how large, and when they move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize, check_window
from sam_edge.masks import Masks
from sam_edge.streaming.foveation import FoveationConfig, choose_window, in_view, window_view
from tests.disc_model import disc_segmenter

WH = (1280, 720)
SIZE = InputSize(long_side=512, multiple=32, square=False)
HALF = FoveationConfig(largest=0.5, smallest=0.25, fill=0.5, outgrown=0.8, inner=0.6)
OBJECT = (560.0, 305.0, 720.0, 395.0)


def test_a_window_is_aimed_at_a_small_object_and_has_room_for_it() -> None:
    assert choose_window(WH, (600, 350), None, OBJECT, HALF) == (480, 260, 320, 180)


def test_what_was_not_seen_yet_or_is_large_takes_the_whole_frame() -> None:
    assert choose_window(WH, (600, 350), None, None, HALF) is None
    assert choose_window(WH, (600, 350), None, (300, 200, 800, 500), HALF) is None
    assert choose_window(WH, (600, 350), None, OBJECT, FoveationConfig(largest=0)) is None


@pytest.mark.parametrize("point", [None, (-1.0, 5.0), (5.0, 721.0), (float("nan"), 5.0)])
def test_where_no_eye_rests_the_whole_frame_is_taken(point: tuple[float, float] | None) -> None:
    assert choose_window(WH, point, (480, 260, 320, 180), OBJECT, HALF) is None


def test_a_window_stays_until_the_gaze_leaves_its_inner_part() -> None:
    window = (480, 260, 320, 180)
    moved = (590.0, 305.0, 750.0, 395.0)
    assert choose_window(WH, (700, 350), window, moved, HALF) == window
    again = choose_window(WH, (740, 350), window, moved, HALF)
    assert again is not None
    assert again[0] == 670 - 160


def test_a_window_moves_when_its_object_outgrows_it_or_is_cut() -> None:
    window = (480, 260, 320, 180)
    grown = choose_window(WH, (640, 350), window, (500, 280, 770, 430), HALF)
    assert grown is None or grown[2] > window[2]
    cut = choose_window(WH, (600, 350), window, (470, 300, 620, 400), HALF)
    assert cut not in (None, window)


def test_a_gaze_that_went_elsewhere_forgets_the_object() -> None:
    assert choose_window(WH, (100, 100), (480, 260, 320, 180), OBJECT, HALF) is None


def test_a_window_at_the_frames_edge_keeps_a_gaze_at_that_edge() -> None:
    window = choose_window(WH, (10, 30), None, (0, 0, 100, 60), HALF)
    assert window == (0, 0, 320, 180)
    assert choose_window(WH, (2, 3), window, None, HALF) == window
    assert choose_window(WH, (318, 3), window, None, HALF) is None


def test_a_window_of_a_larger_frame_does_not_stay() -> None:
    window = choose_window((640, 360), (600, 350), (480, 260, 320, 180), (590, 330, 620, 358), HALF)
    assert window is not None
    check_window((640, 360), window)


sides = st.integers(64, 2000)
shares = st.floats(0, 1)


@given(sides, sides, st.tuples(shares, shares), st.tuples(shares, shares, shares, shares))
def test_windows_are_inside_and_need_no_other_input(
    width: int, height: int, at: tuple[float, float], corners: tuple[float, float, float, float]
) -> None:
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    box = (x0 * width, y0 * height, x1 * width, y1 * height)
    point = (at[0] * width, at[1] * height)
    window = choose_window((width, height), point, None, box)
    if window is None:
        return
    check_window((width, height), window)
    if max(width, height) <= 4 * min(width, height):
        share = window[2] / width
        assert abs(window[3] - share * height) <= 1
    # The same question again: the window stays.
    assert choose_window((width, height), point, window, box) == window


@pytest.mark.parametrize("wh", [(1280, 720), (640, 480), (1600, 1200), (1920, 1080), (854, 480), (1088, 1080)])
def test_frames_of_cameras_keep_the_inputs_size(wh: tuple[int, int]) -> None:
    whole = SIZE.view(wh).input_wh
    for share in np.linspace(0.02, 0.3, 40):
        box = (wh[0] * 0.3, wh[1] * 0.3, wh[0] * (0.3 + share), wh[1] * (0.3 + share))
        window = choose_window(wh, (wh[0] * 0.31, wh[1] * 0.31), None, box)
        assert window is not None
        assert SIZE.view(wh, window).input_wh == whole


def test_a_window_that_needs_another_input_is_not_taken(tmp_path: Path) -> None:
    segmenter = disc_segmenter(tmp_path)
    whole = segmenter.view((256, 128))
    assert window_view(segmenter, (256, 128), None) == whole
    assert window_view(segmenter, (256, 128), (10, 10, 128, 64)).window_xywh == (10, 10, 128, 64)
    assert window_view(segmenter, (256, 128), (10, 10, 64, 64)) == whole


def test_masks_come_into_a_window_and_back_where_they_were() -> None:
    whole, window = SIZE.view(WH), SIZE.view(WH, (320, 180, 640, 360))
    ys, xs = np.mgrid[0:72, 0:128]
    disc = (80 - np.hypot(xs * 10 + 5 - 600, ys * 10 + 5 - 350)).astype(np.float32)
    masks = Masks(disc[None], np.array([0.9], np.float32), whole)
    inside = in_view(masks, window)
    rows, columns = (np.nonzero(inside.logits[0] > 0)[axis] for axis in (0, 1))
    assert (columns.mean() + 0.5) * 5 + 320 == pytest.approx(600, abs=2)
    assert (rows.mean() + 0.5) * 5 + 180 == pytest.approx(350, abs=2)
    assert np.count_nonzero(inside.binary[0] ^ masks.binary[0]) < 300
    back = in_view(inside, whole)
    assert np.abs(back.logits - masks.logits)[masks.logits > 0].max() < 4
    assert in_view(masks, whole) is masks


@pytest.mark.parametrize("wrong", [{"largest": 2}, {"fill": 0}, {"fill": 0.9}, {"inner": float("nan")}])
def test_impossible_shares(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FoveationConfig(**wrong)
