"""Views map a frame into the encoder's input and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize, View

sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
rules = st.builds(InputSize, st.sampled_from([256, 512, 1024]), st.sampled_from([16, 32]), st.booleans())


@given(sizes, rules, st.floats(0, 1), st.floats(0, 1))
def test_there_and_back(frame_wh: tuple[int, int], rule: InputSize, u: float, v: float) -> None:
    view = rule.view(frame_wh)
    point = np.array([u * frame_wh[0], v * frame_wh[1]])
    np.testing.assert_allclose(view.to_frame(view.to_model(point)), point, atol=1e-9)


@given(sizes, rules, st.lists(st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)), max_size=5))
def test_a_few_points_go_where_many_do(
    frame_wh: tuple[int, int], rule: InputSize, xy: list[tuple[float, float]]
) -> None:
    left, top = frame_wh[0] // 3, frame_wh[1] // 3
    window = (left, top, frame_wh[0] - left, frame_wh[1] - top)
    view = rule.view(frame_wh, window)
    np.testing.assert_array_equal(
        np.array(view.few_to_model(xy)).reshape(-1, 2), view.to_model(np.array(xy).reshape(-1, 2))
    )


@given(sizes, rules)
def test_the_frames_corner_is_the_contents_corner(frame_wh: tuple[int, int], rule: InputSize) -> None:
    view = rule.view(frame_wh)
    np.testing.assert_allclose(view.to_model(frame_wh), view.content_wh)
    assert max(view.content_wh) == rule.long_side


@given(sizes, rules)
def test_input_holds_the_content_and_no_more_padding_than_it_must(
    frame_wh: tuple[int, int], rule: InputSize
) -> None:
    view = rule.view(frame_wh)
    if rule.square:
        assert view.input_wh == (rule.long_side, rule.long_side)
        return
    for content, side in zip(view.content_wh, view.input_wh, strict=True):
        assert side % rule.multiple == 0
        assert 0 <= side - content < rule.multiple


def test_camera_shapes_of_the_shipped_model() -> None:
    rule = InputSize(long_side=512, multiple=32, square=False)
    assert rule.view((1280, 720)).input_wh == (512, 288)
    assert rule.view((640, 480)).input_wh == (512, 384)
    assert rule.view((480, 640)).input_wh == (384, 512)


@given(sizes, st.sampled_from([(1024, 576), (576, 1024), (1024, 768), (512, 512)]))
def test_fixed_sides_hold_every_frame(frame_wh: tuple[int, int], fixed_wh: tuple[int, int]) -> None:
    rule = InputSize(max(fixed_wh), 16, square=False, fixed_wh=fixed_wh)
    view = rule.view(frame_wh)
    rule.check(view)
    assert view.input_wh == fixed_wh
    assert any(content == side for content, side in zip(view.content_wh, fixed_wh, strict=True))
    x, y = view.scale * frame_wh
    assert x <= fixed_wh[0] + 1e-9
    assert y <= fixed_wh[1] + 1e-9


def test_fixed_sides_of_the_frames_aspect_scale_as_the_square() -> None:
    rule, square = InputSize(1024, 16, False, fixed_wh=(1024, 576)), InputSize(1024, 16, True)
    assert rule.view((1280, 720)).content_wh == square.view((1280, 720)).content_wh == (1024, 576)
    assert rule.view((720, 1280)).content_wh == (324, 576)
    with pytest.raises(InputError, match="takes 1024 x 576"):
        rule.check(square.view((1280, 720)))
    for wrong in (
        {"long_side": 512, "square": False},
        {"long_side": 1024, "square": True},
        {"long_side": 1024, "square": True, "fit": "squash"},
    ):
        with pytest.raises(InputError, match=r"fixed_wh=\(1024, 576\) requires"):
            InputSize(multiple=16, fixed_wh=(1024, 576), **wrong)


def test_rounds_as_the_reference() -> None:
    # ResizeLongestSide: int(side * scale + 0.5); 683 x 1024 / 1000 = 699.392, 1 x 1024 / 1000 = 1.024
    assert InputSize(1024, 16, True).view((1000, 683)).content_wh == (1024, 699)
    assert InputSize(1024, 16, True).view((5000, 1)).content_wh == (1024, 1)


def test_window_moves_the_origin() -> None:
    view = InputSize(512, 32, False).view((1000, 800), (100, 200, 256, 128))
    np.testing.assert_allclose(view.to_model((100, 200)), (0, 0))
    np.testing.assert_allclose(view.to_model((356, 328)), (512, 256))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((-1, 0, 10, 10), r"10 x 10 pixels at \(-1, 0\) does not lie inside the image, which is 100 x 90"),
        ((95, 0, 10, 10), "does not lie inside"),
        ((0, 85, 10, 10), "does not lie inside"),
        ((500, 500, 1, 1), "does not lie inside"),
        ((0, 0, 0, 10), "shows nothing"),
        ((0, 0, 10, -1), "shows nothing"),
        ((0.5, 0, 10, 10), "whole pixels"),
    ],
)
def test_windows_that_show_nothing(window: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        View((100, 90), window, (10, 10), (32, 32))
    with pytest.raises(InputError, match=message):
        InputSize(512, 32, False).view((100, 90), window)


def test_content_that_is_larger_than_the_input() -> None:
    with pytest.raises(InputError, match="does not fit into its input"):
        View((100, 100), (0, 0, 10, 10), (64, 10), (32, 32))


def test_a_shrunk_image_is_rounded_from_the_frame() -> None:
    # EfficientViT-SAM resizes to 512 from the frame: int(683 * 512 / 1024 + 0.5) where the input has 683 rows.
    rule = InputSize(1024, 64, True, encoder_stride=2)
    view = rule.view((3000, 1000))
    assert (view.content_wh, view.resized_wh, view.encoder_wh) == ((1024, 341), (512, 171), (512, 512))
    view = rule.view((3000, 2002))
    assert (view.content_wh, view.resized_wh) == ((1024, 683), (512, 342))
    view = rule.view((3000, 2000))
    assert (view.content_wh, view.resized_wh) == ((1024, 683), (512, 341))
    assert rule.view((2000, 3000)).resized_wh == (341, 512)
    fixed = InputSize(1024, 64, False, encoder_stride=2, fixed_wh=(1024, 576)).view((640, 480))
    assert (fixed.content_wh, fixed.resized_wh, fixed.encoder_wh) == ((768, 576), (384, 288), (512, 288))


@given(sizes, st.sampled_from([1, 2, 4]))
def test_a_shrunk_image_fits(frame_wh: tuple[int, int], encoder_stride: int) -> None:
    view = InputSize(1024, 64, True, encoder_stride=encoder_stride).view(frame_wh)
    for seen, content, side in zip(view.resized_wh, view.content_wh, view.encoder_wh, strict=True):
        assert abs(seen - content / encoder_stride) < 1
        assert 1 <= seen <= side


@given(sizes)
def test_squashed_frames_fill_the_input(frame_wh: tuple[int, int]) -> None:
    view = InputSize(1024, 16, True, "squash").view(frame_wh)
    assert view.content_wh == view.resized_wh == (1024, 1024)
    np.testing.assert_allclose(view.to_model(frame_wh), (1024, 1024))


def test_unfit_rules_and_views() -> None:
    with pytest.raises(InputError, match="fit is 'stretch'"):
        InputSize(1024, 16, True, "stretch")  # type: ignore[arg-type]  # as a manifest may say
    with pytest.raises(InputError, match="squash with a square"):
        InputSize(1024, 16, False, "squash")
    with pytest.raises(InputError, match="cannot be divided by a stride of 3"):
        InputSize(1024, 16, True, encoder_stride=3).view((640, 480))
    with pytest.raises(InputError, match="of another model"):
        InputSize(1024, 16, True).check(InputSize(1024, 16, True, encoder_stride=2).view((640, 480)))
