"""Prompts refuse what no model can answer, and fill slots as the reference orders them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize, View
from sam_edge.prompt import Prompt

VIEW = InputSize(512, 32, False).view((1024, 512))
coordinate = st.floats(0, 512, width=32)
points = st.lists(st.tuples(coordinate, coordinate), max_size=6)


@given(points, st.booleans(), st.data())
def test_slots(xy: list[tuple[float, float]], boxed: bool, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(xy), max_size=len(xy)))
    prompt = Prompt.points(xy, labels, box=(10, 20, 30, 40) if boxed else None)
    point_coords, point_labels = prompt.slots(VIEW, 12)
    expected = labels + ([2, 3] if boxed else [-1] if xy else [])
    assert point_labels[0].tolist() == expected + [-2] * (12 - len(expected))
    assert prompt.tokens == len(expected)
    np.testing.assert_allclose(point_coords[0, : len(xy)], np.reshape(xy, (-1, 2)) / 2, atol=1e-4)
    if boxed:
        corners = point_coords[0, len(xy) : len(xy) + 2]
        np.testing.assert_allclose(corners, [(5, 10), (15, 20)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompt.points([(1, 2, 3)]), "shape"),
        (lambda: Prompt.points([(1, float("nan"))]), "NaN"),
        (lambda: Prompt.points([(float("inf"), 1)]), "infinity"),
        (lambda: Prompt.points("here"), "not an array of numbers"),
        (lambda: Prompt.points([(1 + 2j, 3)]), "complex"),
        (lambda: Prompt.points([(1, 2)], [1, 0]), "one a point"),
        (lambda: Prompt.points([(1, 2)], [2]), "neither 1"),
        (lambda: Prompt.points([(1, 2)], [0.5]), "neither 1"),
        (lambda: Prompt.box((1, 2, 3)), "box has shape"),
        (lambda: Prompt.box((5, 5, 5, 9)), "empty"),
        (lambda: Prompt.box((9, 0, 5, 9)), "empty"),
        (lambda: Prompt.points([(1, 2)], mask_logits=np.zeros((2, 3, 4))), "mask logits have shape"),
    ],
)
def test_bad_prompts(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("point", [(-0.5, 3), (1024.5, 3), (3, 513)])
def test_point_outside_the_image(point: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="outside the image, which is 1024 x 512"):
        Prompt.points([point]).check_inside(VIEW)


def test_point_outside_the_window() -> None:
    window = InputSize(512, 32, False).view((1024, 512), (100, 100, 200, 200))
    Prompt.points([(150, 150)]).check_inside(window)
    with pytest.raises(InputError, match=r"the window that was encoded, 200 x 200 pixels at \(100, 100\)"):
        Prompt.points([(50, 150)]).check_inside(window)


WINDOW = InputSize(512, 32, False).view((1024, 512), (100, 100, 200, 200))
OUTSIDE = [(-5, -5, -1, 30), (1024, 0, 1030, 9), (0, 512, 9, 600), (-1e300, 0, -1, 9), (-9, 0, 0, 9)]


@pytest.mark.parametrize("box", OUTSIDE)
def test_a_box_outside_the_image_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="lies outside the image, which is 1024 x 512"):
        Prompt.box(box).check_inside(VIEW)


def test_a_box_outside_the_window_is_refused() -> None:
    with pytest.raises(InputError, match="lies outside the window that was encoded"):
        Prompt.box((10, 10, 90, 90)).check_inside(WINDOW)


sides = st.tuples(st.floats(-2000, 1999), st.floats(0.001, 2000)).map(lambda side: (side[0], side[0] + side[1]))
"""Where a box begins and ends along an axis."""


@pytest.mark.parametrize("view", [VIEW, WINDOW])
@given(across=sides, down=sides)
def test_a_box_that_reaches_outside_is_cut(
    view: View, across: tuple[float, float], down: tuple[float, float]
) -> None:
    (x0, x1), (y0, y1) = across, down
    corners = (x0, y0, x1, y1)
    prompt = Prompt.box(corners)
    left, top, width, height = view.window_xywh
    if min(x1, left + width) <= max(x0, left) or min(y1, top + height) <= max(y0, top):
        with pytest.raises(InputError, match="lies outside"):
            prompt.check_inside(view)
        return
    prompt.check_inside(view)
    cut = prompt.cut_box(view)
    assert cut is not None
    Prompt.points([cut[:2], cut[2:]]).check_inside(view)
    assert (cut == corners) == (left <= x0 and top <= y0 and x1 <= left + width and y1 <= top + height)
    # The model sees what the cut box would have shown it.
    np.testing.assert_array_equal(prompt.slots(view, 4)[0], Prompt.box(cut).slots(view, 4)[0])


def test_a_box_far_too_large_is_the_whole_image() -> None:
    prompt = Prompt.box((-1e300, -1e10, 1e10, 1e300))
    prompt.check_inside(VIEW)
    assert prompt.cut_box(VIEW) == (0, 0, 1024, 512)


@given(points.filter(bool))
def test_background_points_alone_show_nothing(xy: list[tuple[float, float]]) -> None:
    labels = [0] * len(xy)
    with pytest.raises(InputError, match="every point says where the object is not: give one that is on it"):
        Prompt.points(xy, labels).check_inside(VIEW)
    # A box or an earlier mask says where it is.
    Prompt.points(xy, labels, box=(1, 2, 3, 4)).check_inside(VIEW)
    Prompt.points(xy, labels, mask_logits=np.zeros((64, 128))).check_inside(VIEW)
    Prompt.points([*xy, (5, 5)], [*labels, 1]).check_inside(VIEW)


def test_an_empty_prompt_shows_nothing() -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        Prompt.points([]).check_inside(VIEW)


def test_a_prompt_keeps_what_it_was_given() -> None:
    points, box = np.array([[1.0, 2.0]]), np.array([0.0, 0.0, 5.0, 5.0])
    prompt = Prompt.points(points, box=box)
    points[0, 0] = box[0] = 3
    assert prompt.points_px[0, 0] == 1
    assert prompt.box_px is not None
    assert prompt.box_px[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        prompt.points_px[0, 0] = 9


def test_more_points_than_slots_says_how_many_fit() -> None:
    with pytest.raises(InputError, match="takes 4 points and a box at most"):
        Prompt.points(np.ones((6, 2))).slots(VIEW, 6)
