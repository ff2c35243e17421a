"""Packs the training images into a few files of at most 60 MB, so that loading costs nothing.

    python -m sam_edge.training.data.pack --data ../shared/data --out out/packs

A pack is an `.npz` with one array `blob` (all JPEG and PNG bytes, one after the other) and one array
`index`, the JSON list of its images as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.storage.files import atomic_path

TRAIN_SETS = ("coco", "coco_person", "pets", "ccp", "facade")
LONG_SIDE_PX = 512
PACK_BYTES = 58_000_000

Array = NDArray[Any]


def shrink(image: Array, labels: list[Array]) -> tuple[Array, list[Array]]:
    """Image (H, W, 3) and label maps (H, W), reduced to a long side of at most LONG_SIDE_PX.

    The image is averaged, labels take the nearest pixel.
    """
    scale = LONG_SIDE_PX / max(image.shape[:2])
    if scale >= 1.0:
        return image, labels
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = [cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT) for label in labels]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small


def read_label(path: Path, shape: tuple[int, ...]) -> Array:
    """The label map (H, W) uint16 of an image of `shape`; InputError if it is none."""
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if label is None or label.ndim != 2:
        raise InputError(f"{path}: not a single-channel label map; store it as an 8 or 16 bit PNG", path=path)
    if label.shape != shape[:2]:
        raise InputError(f"{path}: {label.shape} labels for a {shape[:2]} image; store both alike", path=path)
    return label.astype(np.uint16)


def entries(data: Path, split: str, sets: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Every image of `split` with its encoded bytes: `set`, `name`, `jpeg`, `labels` (list of PNG)."""
    for name in sets:
        folder = data / name / "images" / split
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; --data wants the folder of the sets", path=folder)
        paths = sorted(folder.glob("*.jpg"))
        if not paths:
            raise InputError(
                f"{folder}: no .jpg images in it; --data wants the folder of the sets", path=folder
            )
        for path in paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise InputError(f"{path}: not a readable image", path=path, hint="remove it or store it again")
            kinds = [data / name / kind / split for kind in ("labels", "labels_panoptic")]
            paths = [kind / f"{path.stem}.png" for kind in kinds]
            labels = [read_label(file, image.shape) for file in paths if file.exists()]
            image, labels = shrink(image, labels)
            yield {
                "set": name,
                "name": path.stem,
                "jpeg": cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes(),
                "labels": [cv2.imencode(".png", label)[1].tobytes() for label in labels],
            }


def write_packs(photos: Iterator[dict[str, Any]], out: Path, pack_bytes: int) -> list[Path]:
    """Write `photos` to `out`/pack_00.npz, pack_01.npz, ...; returns the files."""
    files: list[Path] = []
    index: list[dict[str, Any]] = []
    parts: list[bytes] = []
    held = 0

    def flush() -> None:
        nonlocal held
        file = out / f"pack_{len(files):02d}.npz"
        with atomic_path(file) as temporary:
            np.savez(
                temporary,
                blob=np.frombuffer(b"".join(parts), np.uint8),
                index=np.frombuffer(json.dumps(index).encode(), np.uint8),
            )
        files.append(file)
        index.clear()
        parts.clear()
        held = 0

    for photo in photos:
        pieces = [photo["jpeg"], *photo["labels"]]
        if parts and held + sum(map(len, pieces)) > pack_bytes:
            flush()
        index.append({"set": photo["set"], "name": photo["name"], "sizes": list(map(len, pieces))})
        parts.extend(pieces)
        held += sum(map(len, pieces))
    if parts:
        flush()
    return files


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/packs"), show_default=True)
def main(data: Path, out: Path) -> None:
    """Pack the training images below DATA."""
    for file in write_packs(entries(data, "train", TRAIN_SETS), out, PACK_BYTES):
        click.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
