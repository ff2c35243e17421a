"""Our antialiased resize is Pillow's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sam_edge.geometry import InputSize
from sam_edge.imaging.resize import resize_antialias

BILINEAR = Image.Resampling.BILINEAR
side = st.integers(1, 90)


def noise(width: int, height: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(side, side, side, side, st.integers(0, 2**32 - 1))
def test_each_pass_equals_pillows(width: int, height: int, new_width: int, new_height: int, seed: int) -> None:
    # Along x first: newer Pillows turn the passes round where one side shrinks and the other grows.
    image = noise(width, height, seed)
    expected = Image.fromarray(image).resize((new_width, height), BILINEAR)
    expected = expected.resize((new_width, new_height), BILINEAR)
    np.testing.assert_array_equal(resize_antialias(image, (new_width, new_height)), np.asarray(expected))


@pytest.mark.parametrize("frame_wh", [(1280, 720), (640, 480), (480, 640), (1921, 1079), (1024, 300)])
def test_a_frame_for_sam_equals_pillows(frame_wh: tuple[int, int]) -> None:
    content_wh = InputSize(1024, 16, square=True).view(frame_wh).content_wh
    image = noise(*frame_wh, seed=0)
    expected = np.asarray(Image.fromarray(image).resize(content_wh, BILINEAR))
    np.testing.assert_array_equal(resize_antialias(image, content_wh), expected)
