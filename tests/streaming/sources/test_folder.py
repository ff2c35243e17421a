"""Frames that are image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.imaging.image import write_image
from sam_edge.streaming.sources.source import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images that are 0, 10, .. 40 bright, and a file that is none."""
    for number in (3, 0, 4, 1, 2):
        write_image(tmp_path / f"{number:05}.png", np.full((20, 30, 3), 10 * number, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_images_come_in_the_order_of_their_names_at_the_rate_that_was_given(folder: Path) -> None:
    source = open_source(f"{folder}?fps=10")
    frames = list(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 10, 20, 30, 40]
    assert [frame.capture_ns for frame in frames] == [0, 10**8, 2 * 10**8, 3 * 10**8, 4 * 10**8]
    assert (source.info.frame_wh, source.info.fps, source.info.length) == ((30, 20), 10, 5)
    assert not source.info.live


def test_the_rate_may_come_from_the_caller(folder: Path) -> None:
    assert open_source(str(folder), rate_hz=5).info.fps == 5
    assert open_source(str(folder)).info.notes


def test_a_damaged_image_is_lost_and_the_others_keep_their_times(folder: Path) -> None:
    (folder / "00002.png").write_bytes(b"no image")
    source = open_source(f"{folder}?fps=10")
    frames = list(source)
    assert [frame.capture_ns for frame in frames] == [0, 10**8, 3 * 10**8, 4 * 10**8]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert source.lost_frames == 1


def test_an_image_of_another_size_is_named(folder: Path) -> None:
    write_image(folder / "00003.png", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(InputError, match=r"00003\.png"):
        list(open_source(str(folder)))


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=tmp_path.name):
        open_source(str(tmp_path))


def test_close_ends_the_iteration(folder: Path) -> None:
    source = open_source(str(folder))
    frames = iter(source)
    next(frames)
    source.close()
    assert not list(frames)


@pytest.mark.shared
def test_davis_is_read(shared: Path) -> None:
    images = sorted((shared / "data/davis2016").rglob("*.jpg"))
    source = open_source(f"{images[0].parent}?fps=24")
    assert next(iter(source)).image.shape[:2] == source.info.frame_wh[::-1]
