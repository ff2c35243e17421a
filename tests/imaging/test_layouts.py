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


@pytest.fixture(scope="module", params=["onnxruntime", "openvino", "reference"])
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
        overlap = (masks.binary & expected.binary).sum() / (masks.binary | expected.binary).sum()
        assert overlap > 0.95
        same = nano.encode(kept).tensors["embedding"]
        np.testing.assert_allclose(embedding.tensors["embedding"], same, atol=2e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_nv12_is_what_opencv_reads(half_width: int, half_height: int, seed: int) -> None:
    shape = (3 * half_height, 2 * half_width)
    frame = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(frame, "nv12"), cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12))


@pytest.mark.parametrize(("luma", "grey"), [(16, 0), (126, 128), (235, 255), (0, 0), (255, 255)])
def test_nv12_has_limited_range(luma: int, grey: int) -> None:
    frame = np.concatenate([np.full((4, 6), luma, np.uint8), np.full((2, 6), 128, np.uint8)])
    np.testing.assert_array_equal(to_rgb(frame, "nv12"), np.full((4, 6, 3), grey))


def test_bgr_may_lie_anyhow_in_memory() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(rgb[..., ::-1], "bgr"), rgb)
    np.testing.assert_array_equal(to_rgb(np.asfortranarray(rgb[..., ::-1]), "bgr"), rgb)
    assert to_rgb(rgb, "rgb") is rgb


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((8, 8), "bgr", "grey"),
        ((8, 8, 4), "bgr", "alpha"),
        ((8, 8, 3), "nv12", r"shape \(8, 8, 3\): NV12 is \(H \* 3 / 2, W\)"),
        ((8, 8), "nv12", "NV12 is"),
        ((9, 7), "nv12", "height and width even"),
        ((0, 8), "nv12", "no pixels"),
        ((8, 8, 3), "yuyv", "unknown layout 'yuyv' of image: choose one of rgb, bgr, nv12"),
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
