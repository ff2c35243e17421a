"""Label images give the numbers that were stored, however they were stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sam_edge.benchmarks.quality.label_image import read_labels
from sam_edge.errors import InputError


def palette_image(numbers: np.ndarray, entries: int = 256, seed: int = 0) -> Image.Image:
    """An image of indices, in colours that say nothing about them."""
    image = Image.frombytes("P", numbers.shape[::-1], numbers.tobytes())
    colours = np.random.default_rng(seed).integers(0, 256, 3 * entries, dtype=np.uint8)
    image.putpalette(colours.tobytes())
    return image


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([2, 3, 4, 16, 21, 255]),
    st.sampled_from([{}, {"transparency": 0}, {"gamma": 2.2}, {"optimize": True}]),
    st.integers(0, 99),
)
def test_indices_of_a_palette(
    tmp_path: Path, shape: tuple[int, int], entries: int, options: dict[str, Any], seed: int
) -> None:
    # Pillow stores 1, 2, 4 or 8 bits, as the number of entries allows.
    numbers = np.random.default_rng(seed).integers(0, entries, shape, dtype=np.uint8)
    numbers[0, 0] = entries - 1
    chosen = {} if "optimize" in options else options
    palette_image(numbers, entries, seed).save(tmp_path / "a.png", **chosen)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), numbers)


def test_void_belongs_to_no_object(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 255], [2, 255, 0]], np.uint8)
    palette_image(numbers).save(tmp_path / "voc.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "voc.png"), [[0, 1, 0], [2, 0, 0]])
    # One mask, white on black.
    palette_image(numbers // 255 * 255).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), [[0, 0, 255], [0, 255, 0]])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_numbers_stay_as_they_are(tmp_path: Path, kind: type) -> None:
    numbers: np.ndarray = np.array([[0, 1, 255], [np.iinfo(kind).max, 7, 0]], kind)
    cv2.imwrite(str(tmp_path / "a.png"), numbers)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), numbers)


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_not_numbers(tmp_path: Path, channels: int) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 5, channels), np.uint8))
    with pytest.raises(InputError, match=rf"a\.png has {channels} channels"):
        read_labels(tmp_path / "a.png")


def test_damaged_labels_name_the_file(tmp_path: Path) -> None:
    palette_image(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    for content in (b"", b"no image", whole[:30], whole[: whole.index(b"IDAT")]):
        (tmp_path / "cut.png").write_bytes(content)
        with pytest.raises(InputError, match=r"cut\.png is not an image"):
            read_labels(tmp_path / "cut.png")
    with pytest.raises(InputError, match=r"cannot read .*gone\.png"):
        read_labels(tmp_path / "gone.png")
