"""Bytes of cameras as RGB, against OpenCV's own conversions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.streaming.sources.live.pixels import JPEG, LAYOUTS, opencv_to_rgb, raw_to_rgb

SHAPES = {"YUYV": (48, 64, 2), "UYVY": (48, 64, 2), "NV12": (72, 64), "GREY": (48, 64)}
TO_BGR = {
    "YUYV": cv2.COLOR_YUV2BGR_YUYV,
    "UYVY": cv2.COLOR_YUV2BGR_UYVY,
    "NV12": cv2.COLOR_YUV2BGR_NV12,
    "GREY": cv2.COLOR_GRAY2BGR,
}


def random(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("code", SHAPES)
def test_raw_formats_are_as_opencv_converts_them(code: str) -> None:
    raw = random(SHAPES[code])
    expected = cv2.cvtColor(raw, TO_BGR[code])[:, :, ::-1]
    assert np.array_equal(raw_to_rgb(raw, code, (64, 48), "camera"), expected)
    # Some drivers pad the frame, and OpenCV may give its bytes in one row.
    padded = np.concatenate([raw.reshape(1, -1), np.zeros((1, 100), np.uint8)], 1)
    assert np.array_equal(raw_to_rgb(padded, code, (64, 48), "camera"), expected)


def test_jpeg_is_as_opencv_decodes_it() -> None:
    data = cv2.imencode(".jpg", random((48, 64, 3)))[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    expected = decoded[:, :, ::-1]
    assert np.array_equal(
        raw_to_rgb(np.asarray(data, np.uint8).reshape(1, -1), "MJPG", (64, 48), "c"), expected
    )


@given(arrays(np.uint8, st.integers(0, 300)), st.sampled_from(sorted({*LAYOUTS, *JPEG})))
def test_too_few_bytes_are_an_error(data: NDArray[np.uint8], code: str) -> None:
    with pytest.raises(InputError):
        raw_to_rgb(data, code, (64, 48), "camera")


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_grey_and_four_channels_become_rgb(channels: tuple[int, ...]) -> None:
    image = random((4, 6, *channels))
    rgb = opencv_to_rgb(image)
    assert rgb.shape == (4, 6, 3)
    blue = image.reshape(4, 6, -1)[:, :, 0]
    assert np.array_equal(rgb[:, :, 2], blue)


def test_other_channels_are_an_error() -> None:
    with pytest.raises(InputError, match="5 channels"):
        opencv_to_rgb(random((4, 6, 5)))
