"""Labelled images on disk: `<set>/images/<split>/<name>.jpg` with `<set>/labels/<split>/<name>.png`.

A label image has the size of its photo, 0 where nothing is labelled, and a positive number for each object
(see `label_image`). `<set>/annotations.json`, where there is one, adds fields to images and objects (COCO's
category).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import read_image
from sam_edge.progress import Progress

from .label_image import read_labels

Item = TypeVar("Item")
IMAGES = (".jpg", ".jpeg", ".png")
COCO_SIZES = (("small", 32**2), ("medium", 96**2), ("large", float("inf")))
"""COCO's names for objects of an area below that many pixels."""


@dataclass(frozen=True)
class Labelled:
    """A photo and its objects."""

    dataset: str
    name: str
    """Split and file name."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    masks: Mapping[int, NDArray[np.bool_]]
    """Object number -> (H, W)."""
    fields: Mapping[int, Mapping[str, str]]
    """Object number -> what is known about it: `split`, `size` and, if annotated, `category`."""


@dataclass(frozen=True)
class DataSet:
    """A folder of labelled images, read one at a time."""

    name: str
    pairs: tuple[tuple[Path, Path], ...]
    about: Mapping[str, Any]
    min_area_px: int

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Labelled]:
        for image_path, label_path in self.pairs:
            image = read_image(image_path)
            labels = read_labels(label_path)
            if labels.shape != image.shape[:2]:
                raise InputError(
                    f"{label_path} is {labels.shape[::-1]} pixels, its photo {image.shape[1::-1]}",
                    path=label_path,
                    hint="give labels of the photo's size",
                )
            areas = np.bincount(labels.ravel())
            areas[0] = 0
            masks = {int(k): labels == k for k in np.flatnonzero(areas >= self.min_area_px)}
            split = image_path.parent.name
            yield Labelled(
                self.name,
                f"{split}/{image_path.stem}",
                image,
                masks,
                {k: self._fields(image_path.stem, split, k, int(areas[k])) for k in masks},
            )

    @property
    def fields(self) -> set[str]:
        """What is known about its objects, such as `category`."""
        about = (self.about.get(image.stem, {}) for image, _ in self.pairs)
        objects = [item for one in about for item in one.get("objects", [])]
        return {"split", "size"} | ({"category"} if any("category" in item for item in objects) else set())

    def _fields(self, stem: str, split: str, number: int, area: int) -> dict[str, str]:
        size = next(name for name, limit in COCO_SIZES if area < limit)
        objects = self.about.get(stem, {}).get("objects", [])
        known: Mapping[str, Any] = next((item for item in objects if item.get("id") == number), {})
        category = {"category": str(known["category"])} if "category" in known else {}
        return {"split": split, "size": size, **category}


def open_dataset(
    spec: str, *, min_area_px: int = 32 * 32, limit: int | None = None, runs: bool = False
) -> DataSet:
    """Open `FOLDER` or `FOLDER:SPLIT`.

    Args:
        spec: the folder of a set, and a split to keep to.
        min_area_px: smaller objects are left out.
        limit: take that many images at most, spread evenly.
        runs: with a limit, take images that follow one another: the first ones of each split.

    Raises:
        InputError: no such folder, no images in it, or an image without labels.
    """
    folder, _, split = spec.partition(":")
    root = Path(folder)
    # Hidden files, such as ._IMG.jpg, are what file managers leave behind.
    found = sorted(
        path
        for path in (root / "images").glob(f"{split or '*'}/*")
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    )
    if not found:
        raise InputError(
            f"{spec} has no images", hint="give FOLDER[:SPLIT] with FOLDER/images/SPLIT/*.jpg in it"
        )
    about = _annotations(root / "annotations.json")
    # Where only some classes are labelled, a click on anything else has no right answer.
    found = [path for path in found if about.get(path.stem, {}).get("exhaustive", True)]
    if limit is not None and limit < len(found):
        found = _runs(found, limit) if runs else _spread(found, limit)
    pairs = tuple((path, root / "labels" / path.parent.name / f"{path.stem}.png") for path in found)
    missing = [str(label) for _, label in pairs if not label.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(pairs)} images have no labels", path=missing[0], hint=f"add {missing[0]}"
        )
    return DataSet(root.resolve().name, pairs, about, min_area_px)


def open_datasets(
    specs: Sequence[str], *, min_area_px: int = 32 * 32, limit: int | None = None, runs: bool = False
) -> list[DataSet]:
    """Open several sets as `open_dataset` does.

    Raises:
        InputError: a set that cannot be opened, or an image that two of them share: it would count twice.
    """
    datasets = []
    seen: set[Path] = set()
    for spec in specs:
        dataset = open_dataset(spec, min_area_px=min_area_px, limit=limit, runs=runs)
        images = {image.resolve() for image, _ in dataset.pairs}
        if not seen.isdisjoint(images):
            raise InputError(f"{spec} has images of a set named before it", hint="name each set once")
        seen |= images
        datasets.append(dataset)
    return datasets


def _spread(found: list[Item], count: int) -> list[Item]:
    return [found[k * len(found) // count] for k in range(count)]


def _runs(found: list[Path], limit: int) -> list[Path]:
    """At least two images that follow one another, of as many splits as there is room for."""
    splits = [list(group) for _, group in groupby(found, lambda path: path.parent)]
    length = max(2, limit // len(splits))
    chosen = _spread(splits, min(len(splits), max(1, limit // length)))
    return [path for split in chosen for path in split[:length]][:limit]


def _annotations(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is damaged: not JSON ({error})", path=path) from error
    return content if isinstance(content, dict) and "images" not in content else {}


def tracked(datasets: Sequence[DataSet], progress: Progress) -> Iterator[tuple[DataSet, Iterator[Labelled]]]:
    """Each set with its images; every image that is done is shown as progress."""
    total = sum(len(dataset) for dataset in datasets)
    done = 0

    def images(dataset: DataSet) -> Iterator[Labelled]:
        nonlocal done
        for labelled in dataset:
            yield labelled
            done += 1
            progress(f"evaluating {dataset.name}", done / total)

    for dataset in datasets:
        yield dataset, images(dataset)
