"""Labelled images on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_edge.benchmarks.quality.labelled import open_dataset
from sam_edge.errors import InputError
from tests.fixtures.labelled import DISC


def test_fields(labelled_set: Path) -> None:
    first, second = open_dataset(str(labelled_set))
    assert first.fields[DISC] == {"split": "val", "size": "medium", "category": "disc"}
    assert second.fields[DISC] == {"split": "val", "size": "medium"}


def test_limit_spreads_and_split_keeps(labelled_set: Path) -> None:
    assert len(open_dataset(str(labelled_set), limit=1)) == 1
    assert len(open_dataset(f"{labelled_set}:val")) == 2
    with pytest.raises(InputError, match="has no images"):
        open_dataset(f"{labelled_set}:train")


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        (1, ["a/00"]),
        (2, ["a/00", "a/01"]),
        (4, ["a/00", "a/01", "b/00", "b/01"]),
        (7, ["a/00", "a/01", "b/00", "b/01", "c/00", "c/01"]),
        (9, ["a/00", "a/01", "a/02", "b/00", "b/01", "b/02", "c/00", "c/01", "c/02"]),
    ],
)
def test_limited_videos_are_runs_of_images(tmp_path: Path, limit: int, names: list[str]) -> None:
    for folder in ("images", "labels"):
        for split in "abc":
            (tmp_path / folder / split).mkdir(parents=True)
            for number in range(4):
                cv2.imwrite(str(tmp_path / folder / split / f"{number:02}.png"), np.ones((2, 2), np.uint8))
    dataset = open_dataset(str(tmp_path), limit=limit, runs=True)
    assert [f"{image.parent.name}/{image.stem}" for image, _ in dataset.pairs] == names


def test_known_fields(labelled_set: Path) -> None:
    assert open_dataset(str(labelled_set)).fields == {"split", "size", "category"}
    # Other images' do not count.
    (labelled_set / "annotations.json").write_text('{"00007": {"objects": [{"id": 1, "category": "cup"}]}}')
    assert open_dataset(str(labelled_set)).fields == {"split", "size"}
    (labelled_set / "annotations.json").unlink()
    assert open_dataset(str(labelled_set)).fields == {"split", "size"}


def test_not_exhaustive_images_are_left_out(labelled_set: Path) -> None:
    (labelled_set / "annotations.json").write_text('{"00001": {"exhaustive": false}}')
    assert [image.name for image in open_dataset(str(labelled_set))] == ["val/00000"]


def test_labels_of_another_size(labelled_set: Path) -> None:
    cv2.imwrite(str(labelled_set / "labels" / "val" / "00001.png"), np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match=r"00001\.png is \(4, 3\) pixels, its photo \(256, 160\)"):
        list(open_dataset(str(labelled_set)))


def test_missing_labels(labelled_set: Path) -> None:
    (labelled_set / "labels" / "val" / "00000.png").unlink()
    with pytest.raises(InputError, match=r"1 of 2 images have no labels: add .*00000\.png"):
        open_dataset(str(labelled_set))


def test_unreadable_labels(labelled_set: Path) -> None:
    (labelled_set / "labels" / "val" / "00000.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"00000\.png is not an image"):
        list(open_dataset(str(labelled_set)))


def test_hidden_files_are_not_images(labelled_set: Path) -> None:
    (labelled_set / "images" / "val" / "._00000.png").write_bytes(b"what a file manager left")
    assert len(open_dataset(str(labelled_set))) == 2
