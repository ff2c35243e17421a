"""A frame gives the same masks in every layout that cameras deliver."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam_edge.errors import EngineError, InputError, MissingExtraError
from sam_edge.imaging.image import Layout, check_image, to_rgb
from sam_edge.imaging.overlap import mask_iou
from sam_edge.loading import load
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from tests.imaging.layouts import laid_out, to_nv12

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def disc(colour: tuple[int, int, int] = (220, 40, 30)) -> NDArray[np.uint8]:
    """A disc of that colour on a green ground, 160 x 128."""
    image = np.full((128, 160, 3), (30, 110, 60), np.uint8)
    cv2.circle(image, (80, 64), 30, colour, -1)
    return image


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def nano(request: pytest.FixtureRequest) -> Segmenter:
    try:
        return load("nano", runtime=request.param, threads=1)
    except (MissingExtraError, EngineError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_do_not_depend_on_the_layout(nano: Segmenter, layout: Layout) -> None:
    point = Prompt.points([(80, 64)])
    expected = nano.decode(nano.encode(disc()), point, multimask=False)
    frame, kept = laid_out(disc(), layout)
    # An engine may prepare a size that comes again in another way.
    for _ in range(3):
        embedding = nano.encode(frame, layout=layout)
        assert embedding.view.frame_wh == (160, 128)
        masks = nano.decode(embedding, point, multimask=False)
        assert mask_iou(masks.binary, expected.binary) > 0.95
        same = nano.encode(kept).tensors["embedding"]
        np.testing.assert_allclose(embedding.tensors["embedding"], same, atol=2e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_nv12_is_what_opencv_reads(half_width: int, half_height: int, seed: int) -> None:
    shape = (3 * half_height, 2 * half_width)
    frame = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(frame, "nv12"), cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12))


@given(st.integers(16, 235), st.integers(16, 240), st.integers(16, 240))
def test_yuv_is_bt601_of_limited_range(y: int, u: int, v: int) -> None:
    # ITU-R BT.601, table 3, in 8 bits.
    luma, blue, red = 255 / 219 * (y - 16), 255 / 224 * (u - 128), 255 / 224 * (v - 128)
    expected = np.clip(
        [
            luma + 1.402 * red,
            luma - 0.299 * 1.402 / 0.587 * red - 0.114 * 1.772 / 0.587 * blue,
            luma + 1.772 * blue,
        ],
        0,
        255,
    )
    frames: dict[Layout, NDArray[np.uint8]] = {
        "nv12": np.array([[y, y], [y, y], [u, v]], np.uint8),
        "yuyv": np.array([[[y, u], [y, v]]], np.uint8),
        "uyvy": np.array([[[u, y], [v, y]]], np.uint8),
    }
    for layout, frame in frames.items():
        np.testing.assert_allclose(to_rgb(frame, layout).reshape(-1, 3)[0], expected, atol=1.5, err_msg=layout)


@pytest.mark.parametrize(("luma", "grey"), [(16, 0), (126, 128), (235, 255), (0, 0), (255, 255)])
def test_yuv_without_colour_is_grey(luma: int, grey: int) -> None:
    frames: dict[Layout, NDArray[np.uint8]] = {
        "nv12": np.concatenate([np.full((4, 6), luma, np.uint8), np.full((2, 6), 128, np.uint8)]),
        "yuyv": np.dstack([np.full((4, 6), value, np.uint8) for value in (luma, 128)]),
        "uyvy": np.dstack([np.full((4, 6), value, np.uint8) for value in (128, luma)]),
    }
    for layout, frame in frames.items():
        np.testing.assert_array_equal(to_rgb(frame, layout), np.full((4, 6, 3), grey))


def test_known_pixels() -> None:
    red = (250, 20, 10)
    np.testing.assert_array_equal(to_rgb(np.array([[[10, 20, 250, 7]]], np.uint8), "bgra"), [[red]])
    np.testing.assert_array_equal(to_rgb(np.array([[[250, 20, 10, 0]]], np.uint8), "rgba"), [[red]])
    np.testing.assert_array_equal(to_rgb(np.array([[77]], np.uint8), "grey"), [[(77, 77, 77)]])


def test_bgr_may_lie_anyhow_in_memory() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(rgb[..., ::-1], "bgr"), rgb)
    np.testing.assert_array_equal(to_rgb(np.asfortranarray(rgb[..., ::-1]), "bgr"), rgb)
    assert to_rgb(rgb, "rgb") is rgb


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((8, 8), "bgr", "layout='grey'"),
        ((8, 8, 1), "rgb", "layout='grey'"),
        ((8, 8, 4), "bgr", "layout='bgra'"),
        ((8, 8, 3), "bgra", r"BGRA is \(H, W, 4\)"),
        ((8, 8, 3), "grey", r"GREY is \(H, W\)"),
        ((8, 8, 1), "grey", r"GREY is \(H, W\)"),
        ((8, 8, 3), "nv12", r"shape \(8, 8, 3\): NV12 is \(H \* 3 / 2, W\)"),
        ((8, 8), "nv12", "NV12 is"),
        ((9, 7), "nv12", "H and W even"),
        ((8, 7, 2), "yuyv", r"YUYV is \(H, W, 2\), W even"),
        ((8, 8, 3), "uyvy", r"UYVY is \(H, W, 2\)"),
        ((8, 16), "yuyv", "YUYV is"),
        ((0, 8), "nv12", "no pixels"),
        ((8, 8, 3), "yuv", "unknown layout 'yuv' of image: choose one of rgb, bgr, rgba, bgra, grey, nv12"),
    ],
)
def test_frames_of_another_shape_are_refused(shape: tuple[int, ...], layout: Layout, message: str) -> None:
    frame = np.zeros(shape, np.uint8)
    with pytest.raises(InputError, match=message):
        to_rgb(frame, layout)
    with pytest.raises(InputError, match=message) as raised:
        check_image(frame, layout=layout)
    assert "\n" not in str(raised.value)


def test_too_large_nv12_is_refused() -> None:
    with pytest.raises(InputError, match="image has 20000 x 20000 pixels"):
        check_image(np.broadcast_to(np.uint8(0), (30_000, 20_000)), layout="nv12")


def test_the_segmenter_refuses_what_the_layout_is_not(nano: Segmenter) -> None:
    with pytest.raises(InputError, match="NV12 is"):
        nano.encode(disc(), layout="nv12")
    with pytest.raises(InputError, match="grey"):
        nano.encode(to_nv12(disc()))
    with pytest.raises(InputError, match="the view is for frames of"):
        nano.encode(to_nv12(disc()), nano.view((160, 192)), layout="nv12")
