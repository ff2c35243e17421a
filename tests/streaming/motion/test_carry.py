"""Carried masks lie where the motion puts them, to fractions of a cell, in every kind of view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam_edge.geometry import InputSize, View
from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import OUTSIDE, Masks
from sam_edge.streaming.motion.carry import carry_masks, carry_view
from sam_edge.streaming.motion.motion import Motion

FRAME_WH = (640, 360)
NANO = InputSize(512, 32, square=False)
SAM = InputSize(1024, 64, square=True)
SQUASHED = InputSize(1024, 64, square=True, fit="squash")
SIZES = (("nano", NANO), ("sam", SAM), ("squash", SQUASHED))
WHOLE = [pytest.param(size.view(FRAME_WH), id=name) for name, size in SIZES]
WINDOW = NANO.view(FRAME_WH, (100, 60, 256, 160))


def ellipse(view: View, x_px: float, y_px: float, radii: tuple[float, float] = (50, 35)) -> Masks:
    """A mask of an ellipse in frame pixels: logits are positive inside, as a decoder would draw it."""
    width, height = (side // 4 for side in view.input_wh)
    cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    xy = view.to_frame((cells + 0.5) * 4) - 0.5
    away = np.hypot((xy[..., 0] - x_px) / radii[0], (xy[..., 1] - y_px) / radii[1])
    return Masks((12 * (1 - away)).astype(np.float32)[None], np.ones(1, np.float32), view)


def shift(dx: float, dy: float) -> Motion:
    return Motion(np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]))


def turn(degrees: float, zoom: float = 1.0, tilt: float = 0.0) -> Motion:
    """About the middle of the frame."""
    x, y = FRAME_WH[0] / 2, FRAME_WH[1] / 2
    cos, sin = zoom * np.cos(np.deg2rad(degrees)), zoom * np.sin(np.deg2rad(degrees))
    there, back = (np.array([[1, 0, s * x], [0, 1, s * y], [0, 0, 1.0]]) for s in (1, -1))
    return Motion(there @ np.array([[cos, -sin, 0], [sin, cos, 0], [tilt, 0, 1]]) @ back)


def moved_truth(view: View, motion: Motion, x_px: float, y_px: float) -> NDArray[np.bool_]:
    """(H, W): the pixels that come from inside the ellipse of `ellipse`, and from inside the view."""
    ys, xs = np.mgrid[: FRAME_WH[1], : FRAME_WH[0]]
    source = np.stack([xs, ys, np.ones_like(xs)], axis=-1) @ motion.inverse().matrix.T
    x, y = source[..., 0] / source[..., 2], source[..., 1] / source[..., 2]
    left, top, width, height = view.window_xywh
    seen = (x > left - 0.5) & (x < left + width - 0.5) & (y > top - 0.5) & (y < top + height - 0.5)
    inside: NDArray[np.bool_] = seen & (np.hypot((x - x_px) / 50, (y - y_px) / 35) < 1)
    return inside


@pytest.mark.parametrize("view", WHOLE)
@pytest.mark.parametrize(
    "motion", [shift(37.3, -21.7), shift(-0.4, 0.3), turn(7), turn(-4, 1.1), turn(2, 0.9, 2e-4)]
)
@pytest.mark.parametrize(("x", "y", "iou"), [(320, 180, 0.98), (30, 200, 0.93), (600, 20, 0.93)])
def test_a_mask_lies_where_the_motion_puts_it(view: View, motion: Motion, x: int, y: int, iou: float) -> None:
    # Where the frame cuts a mask, its edge is as exact as a cell.
    carried = carry_masks(ellipse(view, x, y), motion)
    assert mask_iou(carried.binary[0], moved_truth(view, motion, x, y)) > iou


@pytest.mark.parametrize("view", [*WHOLE, pytest.param(WINDOW, id="window")])
@given(dx=st.floats(-30, 30), dy=st.floats(-30, 30), degrees=st.floats(-8, 8))
@settings(max_examples=20)
def test_there_and_back_is_where_it_was(view: View, dx: float, dy: float, degrees: float) -> None:
    motion = turn(degrees).then(shift(dx, dy))
    masks = ellipse(view, 230, 140)
    back = carry_masks(carry_masks(masks, motion), motion.inverse())
    assert mask_iou(back.binary[0], masks.binary[0]) > 0.97


@given(dx=st.integers(-20, 20), dy=st.integers(-20, 20), x=st.floats(0, 640), y=st.floats(0, 360))
def test_whole_cells_are_an_array_shift(dx: int, dy: int, x: float, y: float) -> None:
    view = NANO.view(FRAME_WH)
    masks = ellipse(view, x, y)
    near = masks.logits[0] > -3
    expected = np.full_like(masks.logits[0], OUTSIDE)
    height, width = expected.shape
    rows, columns = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
    from_rows, from_columns = slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0))
    expected[rows, columns] = np.where(near, masks.logits[0], OUTSIDE)[from_rows, from_columns]
    # Five pixels of the frame are a cell.
    carried = carry_masks(masks, shift(5 * dx, 5 * dy)).logits[0]
    if (dx, dy) == (0, 0):
        assert np.array_equal(carried, masks.logits[0])
        return
    assert np.allclose(carried[expected > OUTSIDE], expected[expected > OUTSIDE], atol=1e-4)
    assert (carried[expected == OUTSIDE] < -2).all()


def test_no_motion_returns_the_masks_themselves() -> None:
    masks = ellipse(NANO.view(FRAME_WH), 300, 200)
    assert carry_masks(masks, Motion()) is masks
    assert carry_masks(masks, Motion(3 * np.eye(3))) is masks
    assert carry_masks(masks, Motion.unknown()) is masks


def test_each_of_several_masks_moves() -> None:
    view = NANO.view(FRAME_WH)
    one, two = ellipse(view, 200, 100), ellipse(view, 400, 250)
    empty = np.full_like(one.logits, -9.0)
    both = Masks(np.concatenate([one.logits, empty, two.logits]), np.array([0.9, 0.1, 0.8], np.float32), view)
    carried = carry_masks(both, turn(5))
    assert np.array_equal(carried.predicted_iou, both.predicted_iou)
    assert np.array_equal(carried.logits[0], carry_masks(one, turn(5)).logits[0])
    assert np.array_equal(carried.logits[2], carry_masks(two, turn(5)).logits[0])
    assert (carried.logits[1] == OUTSIDE).all()


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1.0, 1.0, 0.0]), np.diag([1.0, 1.0, -1.0]),
     np.array([[1, 0, 0], [0, 1, 0], [-1 / 300, 0, 1.0]]), np.array([[1, 0, 1e9], [0, 1, 0], [0, 0, 1.0]]),
     np.diag([1e-9, 1e-9, 1.0]), np.diag([1e9, 1e9, 1.0])],
)  # fmt: skip
@pytest.mark.parametrize("view", [NANO.view(FRAME_WH), WINDOW])
def test_impossible_motions_leave_no_mask_and_raise_nothing(matrix: NDArray[np.float64], view: View) -> None:
    carried = carry_masks(ellipse(view, 300, 180), Motion(matrix))
    assert np.isfinite(carried.logits).all()
    assert carried.binary.mean() < 0.02


def test_padding_is_not_part_of_a_mask() -> None:
    view = SAM.view(FRAME_WH)
    masks = ellipse(view, 300, 180)
    masks.logits[0, 150:] = 9.0  # below the frame, which ends at row 144
    carried = carry_masks(masks, shift(0, -60))
    assert mask_iou(carried.binary[0], moved_truth(view, shift(0, -60), 300, 180)) > 0.97


@given(dx=st.integers(-100, 280), dy=st.integers(-60, 140))
def test_a_window_goes_along_by_whole_pixels(dx: int, dy: int) -> None:
    masks = ellipse(WINDOW, 230, 140)
    carried = carry_masks(masks, shift(dx, dy))
    assert carried.view.window_xywh == (100 + dx, 60 + dy, 256, 160)
    assert np.array_equal(carried.logits, masks.logits)


@given(dx=st.floats(-900, 900), dy=st.floats(-900, 900), degrees=st.floats(-20, 20))
def test_a_window_stays_in_the_frame(dx: float, dy: float, degrees: float) -> None:
    motion = turn(degrees).then(shift(dx, dy))
    view = carry_view(WINDOW, motion)
    left, top, width, height = view.window_xywh
    assert (width, height) == (256, 160)
    assert 0 <= left <= 640 - 256
    assert 0 <= top <= 360 - 160
    assert replace(view, window_xywh=WINDOW.window_xywh) == WINDOW


def test_a_mask_in_a_window_that_turns_keeps_its_place() -> None:
    motion = turn(6).then(shift(40.4, 20.3))
    carried = carry_masks(ellipse(WINDOW, 230, 140), motion)
    assert mask_iou(carried.binary[0], moved_truth(WINDOW, motion, 230, 140)) > 0.98
