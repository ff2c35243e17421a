"""Training pictures in memory, decoded once."""

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
class Picture:
    """`image` (H, W, 3) uint8 RGB and its label maps (H, W), 0 = unlabelled.

    Different maps are different ways to cut the same picture; `set` names the data set.
    """

    set: str
    name: str
    image: Array
    labels: tuple[Array, ...]


def load_packs(folder: Path) -> list[Picture]:
    """All pictures of the packs in `folder`; InputError when there are none."""
    files = sorted(folder.glob("pack_*.npz"))
    if not files:
        raise InputError(f"{folder}: no packs here; write them with python -m sam_edge.training.data.pack")
    return [picture for file in files for picture in read_pack(file)]


def read_pack(file: Path) -> list[Picture]:
    """The pictures of one pack."""
    with np.load(file) as pack:
        blob, index = pack["blob"], json.loads(pack["index"].tobytes())
    pictures: list[Picture] = []
    start = 0
    for entry in index:
        ends = start + np.cumsum(entry["sizes"])
        parts = np.split(blob[start : ends[-1]], ends[:-1] - start)
        start = int(ends[-1])
        image = cv2.cvtColor(_decode(parts[0], cv2.IMREAD_COLOR, file), cv2.COLOR_BGR2RGB)
        maps = tuple(_narrow(_decode(part, cv2.IMREAD_UNCHANGED, file)) for part in parts[1:])
        pictures.append(Picture(entry["set"], entry["name"], image, maps))
    return pictures


def _decode(data: Array, mode: int, file: Path) -> Array:
    decoded = cv2.imdecode(data, mode)
    if decoded is None:
        raise InputError(f"{file}: damaged; write it again with python -m sam_edge.training.data.pack")
    return decoded


def _narrow(labels: Array) -> Array:
    return labels.astype(np.uint8) if labels.max() < 256 else labels
