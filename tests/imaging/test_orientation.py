"""Photos are read upright, whichever way their format says how the camera was held."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from sam_edge.errors import InputError
from sam_edge.imaging.image import read_image
from sam_edge.imaging.orientation import turns

COLOURS = np.array([[(230, 30, 30), (30, 230, 30)], [(30, 30, 230), (230, 230, 230)]], np.uint8)
SCENE: NDArray[np.uint8] = COLOURS.repeat(16, axis=0).repeat(24, axis=1)
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]


def photo(kind: str, orientation: int) -> bytes:
    """A photo that says how the camera was held; Pillow says it in an AVIF by irot and imir."""
    if kind == "AVIF" and not (features.check("avif") and cv2.haveImageWriter("a.avif")):
        pytest.skip("Pillow or OpenCV was built without AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, kind, exif=exif, quality=95)
    return file.getvalue()


def upright(orientation: int) -> NDArray[np.uint8]:
    image = Image.fromarray(SCENE)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_photos_are_read_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    (tmp_path / "photo").write_bytes(photo(kind, orientation))
    image, expected = read_image(tmp_path / "photo"), upright(orientation)
    assert image.shape == expected.shape
    assert np.mean(np.abs(image.astype(int) - expected) > 40) < 0.05


@pytest.mark.parametrize("quarters", range(4))
def test_a_rotation_is_counter_clockwise(tmp_path: Path, quarters: int) -> None:
    # ISO/IEC 23008-12, 6.5.10: the angle counts quarter turns counter-clockwise.
    data = bytearray(photo("AVIF", 6))
    data[data.index(b"irot") + 4] = quarters
    (tmp_path / "photo.avif").write_bytes(data)
    image, expected = read_image(tmp_path / "photo.avif"), np.rot90(SCENE, quarters)
    assert image.shape == expected.shape
    assert np.mean(np.abs(image.astype(int) - expected) > 40) < 0.05


def test_only_the_shown_images_properties_count(tmp_path: Path) -> None:
    # The rotation stays in the file, and nothing refers to it any more.
    data = bytearray(photo("AVIF", 6))
    ipco = data.index(b"ipco")
    kinds, at = [], ipco + 4
    while at < ipco - 4 + int.from_bytes(data[ipco - 4 : ipco], "big"):
        kinds.append(bytes(data[at + 4 : at + 8]))
        at += int.from_bytes(data[at : at + 4], "big")
    number = kinds.index(b"irot") + 1
    ipma = data.index(b"ipma")
    associations = data.index(bytes([0x80 | number]), ipma + 14)
    data[associations] = 0
    (tmp_path / "photo.avif").write_bytes(data)
    assert read_image(tmp_path / "photo.avif").shape == SCENE.shape


def test_an_image_that_shows_a_part_of_its_pixels_is_refused(tmp_path: Path) -> None:
    data = photo("AVIF", 6).replace(b"irot", b"clap")
    (tmp_path / "photo.avif").write_bytes(data)
    with pytest.raises(InputError, match=r"photo\.avif shows only a part .*: save it as JPEG or PNG"):
        read_image(tmp_path / "photo.avif")


def test_heic_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with pytest.raises(InputError, match="HEIC or AVIF that this OpenCV cannot decode: convert it"):
        read_image(tmp_path / "photo.heic")


@given(st.data(), st.sampled_from(["AVIF", "WEBP"]))
def test_damaged_containers_do_no_harm(data: st.DataObject, kind: str) -> None:
    whole = bytearray(photo(kind, 5))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(12, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = turns(bytes(whole[: data.draw(st.integers(0, len(whole)))]), "photo")
    except InputError:
        return
    for turn in found or ():
        assert turn(SCENE).size == SCENE.size
