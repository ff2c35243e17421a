"""Packing keeps every image and label, within the size limit, and refuses what is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from sam_edge.errors import InputError
from sam_edge.training.data.images import load_packs, read_pack
from sam_edge.training.data.pack import LONG_SIDE_PX, TRAIN_SETS, entries, main, write_packs


def test_packs_give_back_every_image_at_the_long_side(tiny_data: Path, tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["--data", str(tiny_data), "--out", str(tmp_path)])
    assert answer.exit_code == 0, answer.output
    photos = load_packs(tmp_path)
    assert [p.set for p in photos] == [name for name in TRAIN_SETS for _ in range(2)]
    assert {max(p.image.shape[:2]) for p in photos} == {260, LONG_SIDE_PX}
    for photo in photos:
        assert photo.labels[0].shape == photo.image.shape[:2]
        assert set(np.unique(photo.labels[0])) <= {0, 1, 2, 3}


def test_labels_survive_exactly(tiny_data: Path, tmp_path: Path) -> None:
    files = write_packs(entries(tiny_data, "train", ("pets",)), tmp_path, 10**9)
    stored = cv2.imread(str(tiny_data / "pets/labels/train/train0.png"), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert np.array_equal(read_pack(files[0])[0].labels[0], stored)


def test_no_pack_exceeds_the_limit_by_more_than_a_image(tiny_data: Path, tmp_path: Path) -> None:
    files = write_packs(entries(tiny_data, "train", TRAIN_SETS), tmp_path, 60_000)
    assert len(files) > 1
    assert sum(len(read_pack(file)) for file in files) == 2 * len(TRAIN_SETS)
    for file in files:
        assert len(read_pack(file)) == 1 or file.stat().st_size < 61_500


def test_labels_of_another_size_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data / "pets", tmp_path / "pets")
    label = tmp_path / "pets/labels/train/train0.png"
    cv2.imwrite(str(label), np.zeros((7, 9), np.uint8))
    with pytest.raises(InputError, match=r"train0\.png.*\(7, 9\)"):
        list(entries(tmp_path, "train", ("pets",)))


def test_an_unreadable_image_is_named(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data / "pets", tmp_path / "pets")
    (tmp_path / "pets/images/train/train1.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"train1\.jpg"):
        list(entries(tmp_path, "train", ("pets",)))


def test_an_empty_folder_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.data\.pack"):
        load_packs(tmp_path)


def test_a_folder_without_images_is_named(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    for path in (tmp_path / "data/pets/images/train").glob("*.jpg"):
        path.unlink()
    with pytest.raises(InputError, match=r"pets.images.train: no \.jpg images"):
        list(entries(tmp_path / "data", "train", ("coco", "pets")))
