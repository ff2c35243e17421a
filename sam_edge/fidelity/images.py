"""Images to calibrate and to check engines with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import read_image
from sam_edge.synthetic.scene import Scene

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif")
SHOWN = 5
"""Names of skipped files that a line lists."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skipped:
    """Files of a folder that are not used."""

    unreadable: tuple[tuple[Path, str], ...]
    """Path, and why it cannot be read."""
    hidden: tuple[Path, ...]
    """Hidden files with the suffix of an image, such as ._IMG.jpg, or in a hidden folder."""

    def __bool__(self) -> bool:
        return bool(self.unreadable or self.hidden)

    def __str__(self) -> str:
        """How many there are and the first names, in one line."""
        files = [f"{path.name} ({why})" for path, why in self.unreadable] + [
            f"{path.name} (hidden)" for path in self.hidden
        ]
        more = f", and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        return f"{len(files)} skipped: {', '.join(files[:SHOWN])}{more}"


def warn(folder: Path, skipped: Skipped) -> None:
    """Log the files that were skipped, as a warning."""
    _log.warning("%s: %s", folder, skipped)


def read_images(
    folder: Path | None, limit: int, on_skipped: Callable[[Path, Skipped], None] = warn
) -> list[NDArray[np.uint8]]:
    """At most `limit` images (H, W, 3) uint8 RGB: of a folder, spread evenly by name, or generated.

    Files that cannot be read are skipped, and others take their place as long as there are any.

    Args:
        folder: None makes images.
        limit: at least 1.
        on_skipped: called once with the folder and its skipped files, if there are any.

    Raises:
        InputError: no such folder, or no image in it that can be read.
    """
    if folder is None:
        return generated_images(limit)
    files, hidden = _files(folder)
    spread = np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int).tolist()
    # Others stand in for those that cannot be read.
    order = [*spread, *sorted(set(range(len(files))) - set(spread))]
    found: dict[int, NDArray[np.uint8]] = {}
    unreadable = []
    for index in order:
        try:
            found[index] = read_image(files[index])
        except InputError as error:
            unreadable.append((files[index], _why(files[index], error)))
        if len(found) == limit:
            break
    _report(folder, len(found), Skipped(tuple(unreadable), hidden), on_skipped)
    return [found[index] for index in sorted(found)]


def readable_images(folder: Path, on_skipped: Callable[[Path, Skipped], None] = warn) -> list[Path]:
    """All images of a folder and the folders in it that can be read, by name; each is decoded once to find out.

    Raises:
        InputError: no such folder, or no image in it that can be read.
    """
    files, hidden = _files(folder)
    found, unreadable = [], []
    for file in files:
        try:
            read_image(file)
            found.append(file)
        except InputError as error:
            unreadable.append((file, _why(file, error)))
    _report(folder, len(found), Skipped(tuple(unreadable), hidden), on_skipped)
    return found


def image_files(folder: Path) -> list[Path]:
    """What is an image by its name in a folder and the folders in it, hidden files left out; sorted.

    Raises:
        InputError: no such folder, or no images in it.
    """
    return _files(folder)[0]


def _files(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """Images and hidden images of a folder."""
    if not folder.is_dir():
        raise InputError(f"--images {folder} is not a folder", path=folder, hint="give one that holds images")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    hidden = [any(part.startswith(".") for part in path.relative_to(folder).parts) for path in files]
    shown = [path for path, is_hidden in zip(files, hidden, strict=True) if not is_hidden]
    if not shown:
        raise InputError(f"--images {folder} holds no images ({', '.join(SUFFIXES)})", path=folder)
    return shown, tuple(path for path, is_hidden in zip(files, hidden, strict=True) if is_hidden)


def _report(folder: Path, found: int, skipped: Skipped, on_skipped: Callable[[Path, Skipped], None]) -> None:
    if not found:
        raise InputError(f"--images {folder} holds no image that can be read: {skipped}", path=folder)
    if skipped:
        on_skipped(folder, skipped)


def _why(path: Path, error: InputError) -> str:
    return error.what.removeprefix(f"{path} ").removeprefix(f"cannot read {path}: ")


@cache
def generated_images(count: int) -> list[NDArray[np.uint8]]:
    """Views of a rendered desk, and shapes with grain, always the same."""
    # A minute: its beginning, middle and end look at different parts of the desk.
    scene = Scene(seed=3, width=480, height=360, fps=1.0, duration_s=60.0)
    frames = np.linspace(0, scene.frame_count - 1, max(1, count - 1)).astype(int)
    views = [scene.frame(int(index)).image for index in frames]
    return [*views, textured_image((480, 640))][:count]


def textured_image(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """An image (H, W, 3) with large shapes and fine grain, always the same."""
    width, height = size_wh
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = generator.integers(-12, 13, smooth.shape, dtype=np.int16)
    image: NDArray[np.uint8] = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    return image
