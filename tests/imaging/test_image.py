"""Images of every kind are read, or refused with a hint, and normalised."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_edge.errors import InputError, OutputError
from sam_edge.geometry import InputSize
from sam_edge.imaging.image import check_image, encoder_input, read_image, write_image
from sam_edge.imaging.preprocess import Preprocess

PREPROCESS = Preprocess((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "antialias")


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
def test_reads_rgb(tmp_path: Path, suffix: str) -> None:
    rgb = np.zeros((8, 6, 3), np.uint8)
    rgb[:, :, 0], rgb[:, :, 2] = 200, 30
    (tmp_path / f"a{suffix}").write_bytes(encoded(suffix, rgb[:, :, ::-1]))
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}"), rgb, atol=3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((4, 5), 100, np.uint8),
        np.full((4, 5, 4), 100, np.uint8),
        np.full((4, 5, 3), 100 * 257, np.uint16),
        np.full((4, 5), 100 * 257, np.uint16),
    ],
    ids=["grey", "alpha", "16 bit", "16 bit grey"],
)
def test_grey_alpha_and_16_bits_become_rgb(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png", pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.full((4, 5, 3), 100))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not an image", "is not an image, or cut off"),
        (b"\x89PNG\r\n\x1a\n", "is not an image, or cut off"),
    ],
)
def test_what_is_not_an_image(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.png")


def test_no_file() -> None:
    with pytest.raises(InputError, match="No such file"):
        read_image("nowhere.png")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        read_image(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="is not a file"):
        read_image(tmp_path / "pipe.png")


def test_an_image_that_declares_a_huge_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = (60_000).to_bytes(4, "big")
    head = b"IHDR" + side + side + b"\x08\x02\x00\x00\x00"
    chunk = (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(InputError, match="60000 x 60000 pixels, more than"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1]], "numpy array"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 4), np.uint8), "grey"),
        (np.zeros((4, 4, 1), np.uint8), "grey"),
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((4, 4, 3), np.uint16), "dtype uint16"),
        (np.zeros((4, 4, 3), np.float32), "dtype float32"),
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), "shape"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), "more than"),
    ],
)
def test_arrays_that_are_no_image(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_image(image)


def test_encoder_input_is_normalised_then_padded() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    view = InputSize(200, 16, True).view((200, 100))
    blob = encoder_input(image, view, PREPROCESS)
    expected = (image.astype(np.float64) - PREPROCESS.mean) / PREPROCESS.std
    np.testing.assert_allclose(blob[0, :, :100], expected.transpose(2, 0, 1), atol=1e-5)
    assert blob.shape == (1, 3, 200, 200)
    assert not blob[0, :, 100:].any()


def test_encoder_input_sees_only_the_window() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 30:50] = 255
    view = InputSize(64, 32, False).view((60, 60), (30, 20, 20, 20))
    blob = encoder_input(image, view, PREPROCESS)
    assert np.ptp(blob, axis=(2, 3)).max() < 1e-6


def test_write_image_needs_a_known_ending(tmp_path: Path) -> None:
    for name in ("mask", "mask.xyz"):
        with pytest.raises(InputError, match=r"end its name in \.png"):
            write_image(tmp_path / name, np.zeros((2, 2), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_write_image_to_nowhere() -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_image("/proc/mask.png", np.zeros((2, 2), np.uint8))


def test_bilinear_is_torchs_interpolate_of_floats() -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(3).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    view = InputSize(64, 64, True, "squash").view((50, 30))
    blob = encoder_input(image, view, replace(PREPROCESS, resize="bilinear"))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(pixels, (64, 64), mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(values)[:, None, None] / 255 for values in (PREPROCESS.mean, PREPROCESS.std))
    np.testing.assert_allclose(blob, ((resized - mean) / std).numpy(), atol=1e-4)


def test_a_shrunk_image_is_what_a_smaller_input_would_hold() -> None:
    image = np.random.default_rng(4).integers(0, 256, (333, 640, 3), dtype=np.uint8)
    half = encoder_input(image, InputSize(128, 64, True, encoder_stride=2).view((640, 333)), PREPROCESS)
    small = encoder_input(image, InputSize(64, 64, True).view((640, 333)), PREPROCESS)
    assert half.shape == (1, 3, 64, 64)
    np.testing.assert_array_equal(half, small)


def test_a_small_image_is_enlarged_without_blocks() -> None:
    ramp = np.repeat(np.linspace(0, 255, 8).round().astype(np.uint8)[None], 8, axis=0)
    preprocess = replace(PREPROCESS, resize="area")
    blob = encoder_input(np.dstack([ramp] * 3), InputSize(64, 32, False).view((8, 8)), preprocess)
    assert blob.shape == (1, 3, 64, 64)
    row = blob[0, 0, 32, 8:-8]
    # Blocks would hold one value for eight pixels.
    assert (np.diff(row) > 0).all()
