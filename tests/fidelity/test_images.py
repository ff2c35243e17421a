"""Folders of images as people have them: with files that are broken, hidden, or not images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.fidelity.images import Skipped, image_files, read_images, readable_images
from sam_edge.imaging.image import write_image


def write(folder: Path, good: list[str]) -> None:
    """Images whose first pixel is their number."""
    for number, name in enumerate(good):
        write_image(folder / name, np.full((4, 5, 3), number, np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images 0 to 5, of which 1 and 4 cannot be read, and what else lies about."""
    (tmp_path / "deep" / ".thumbs").mkdir(parents=True)
    write(tmp_path, ["a.png", "b.png", "c.png", "d.png", "deep/e.png", "f.bmp"])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:30])
    (tmp_path / "deep/e.png").write_bytes(b"")
    for hidden in ("._a.png", "deep/.thumbs/x.png"):
        (tmp_path / hidden).write_bytes(b"not an image")
    (tmp_path / "notes.txt").write_text("not an image by its name")
    return tmp_path


def numbers(images: list[np.ndarray]) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


def test_what_cannot_be_read_is_skipped_and_listed(folder: Path) -> None:
    told: list[tuple[Path, Skipped]] = []
    images = read_images(folder, 9, lambda *found: told.append(found))
    assert numbers(images) == [0, 2, 3, 5]
    ((where, skipped),) = told
    assert where == folder
    assert [(path.name, why.split(",")[0]) for path, why in skipped.unreadable] == [
        ("b.png", "is not an image"),
        ("e.png", "is empty"),
    ]
    assert {path.name for path in skipped.hidden} == {"._a.png", "x.png"}
    assert str(skipped).startswith("4 skipped: b.png (is not an image, or cut off), e.png (is empty)")
    assert [path.name for path in readable_images(folder, lambda *_: None)] == [
        "a.png",
        "c.png",
        "d.png",
        "f.bmp",
    ]


def test_by_default_it_is_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_images(folder, 9)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "4 skipped" in record.getMessage()


def test_others_stand_in_for_those_that_cannot_be_read(folder: Path) -> None:
    for limit in (1, 2, 3, 4):
        assert len(read_images(folder, limit, lambda *_: None)) == limit


def test_a_folder_without_faults_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, ["a.png", "b.png"])

    def complain(where: Path, skipped: Skipped) -> None:
        raise AssertionError(str(skipped))

    assert numbers(read_images(tmp_path, 5, complain)) == [0, 1]
    assert len(readable_images(tmp_path, complain)) == 2


@given(st.sets(st.integers(0, 11)), st.integers(1, 12))
def test_as_many_as_there_are_in_order(
    tmp_path_factory: pytest.TempPathFactory, bad: set[int], limit: int
) -> None:
    folder = tmp_path_factory.mktemp("images")
    write(folder, [f"{number:02}.png" for number in range(12)])
    for number in bad:
        (folder / f"{number:02}.png").write_bytes(b"no image")
    if len(bad) == 12:
        with pytest.raises(InputError, match="holds no image that can be read"):
            read_images(folder, limit)
        return
    found = numbers(read_images(folder, limit, lambda *_: None))
    assert found == sorted(set(found) - bad)
    assert len(found) == min(limit, 12 - len(bad))


def test_only_bad_images_are_refused_with_their_names(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / f"{name}.jpg").write_bytes(b"no image")
    for read in (lambda: read_images(tmp_path, 3), lambda: readable_images(tmp_path)):
        with pytest.raises(InputError, match=r"7 skipped: a\.jpg .*, and 2 more"):
            read()


def test_folders_and_pipes_with_an_images_name(tmp_path: Path) -> None:
    write(tmp_path, ["a.png"])
    (tmp_path / "b.png").mkdir()
    os.mkfifo(tmp_path / "c.png")
    assert numbers(read_images(tmp_path, 3, lambda *_: None)) == [0]


@pytest.mark.parametrize(("name", "message"), [("gone", "is not a folder"), (".", "holds no images")])
def test_no_images(tmp_path: Path, name: str, message: str) -> None:
    for find in (image_files, readable_images, lambda folder: read_images(folder, 1)):
        with pytest.raises(InputError, match=message):
            find(tmp_path / name)
