"""Training images in memory, decoded once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Photo:
    """`image` (H, W, 3) uint8 RGB and its label maps (H, W), 0 = unlabelled.

    Different maps are different ways to cut the same image; `set` names the data set.
    """

    set: str
    name: str
    image: Array
    labels: tuple[Array, ...]


def load_packs(folder: Path) -> list[Photo]:
    """All images of the packs in `folder`; InputError when there are none."""
    files = sorted(folder.glob("pack_*.npz"))
    if not files:
        raise InputError(
            f"{folder}: no packs here",
            path=folder,
            hint="write them with python -m sam_edge.training.data.pack",
        )
    return [photo for file in files for photo in read_pack(file)]


def read_pack(file: Path) -> list[Photo]:
    """The images of one pack."""
    with np.load(file) as pack:
        blob, index = pack["blob"], json.loads(pack["index"].tobytes())
    photos: list[Photo] = []
    start = 0
    for entry in index:
        ends = start + np.cumsum(entry["sizes"])
        parts = np.split(blob[start : ends[-1]], ends[:-1] - start)
        start = int(ends[-1])
        image = cv2.cvtColor(_decode(parts[0], cv2.IMREAD_COLOR, file), cv2.COLOR_BGR2RGB)
        maps = tuple(_narrow(_decode(part, cv2.IMREAD_UNCHANGED, file)) for part in parts[1:])
        photos.append(Photo(entry["set"], entry["name"], image, maps))
    return photos


def _decode(data: Array, mode: int, file: Path) -> Array:
    decoded = cv2.imdecode(data, mode)
    if decoded is None:
        raise InputError(
            f"{file}: damaged", path=file, hint="write it again with python -m sam_edge.training.data.pack"
        )
    return decoded


def _narrow(labels: Array) -> Array:
    return labels.astype(np.uint8) if labels.max() < 256 else labels
