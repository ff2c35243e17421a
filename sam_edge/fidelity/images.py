"""Images to calibrate and to check engines with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import read_image
from sam_edge.synthetic.scene import Scene

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def read_images(folder: Path | None, limit: int) -> list[NDArray[np.uint8]]:
    """At most `limit` images (H, W, 3) uint8 RGB: of a folder, spread evenly by name, or generated.

    Raises:
        InputError: no such folder, no images in it, or one that cannot be read.
    """
    if folder is None:
        return generated_images(limit)
    files = image_files(folder)
    chosen = np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int)
    return [read_image(files[index]) for index in chosen]


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and the folders in it, by name.

    Raises:
        InputError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise InputError(f"--images {folder} is no folder", path=folder, hint="give one that holds images")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"--images {folder} holds no images ({', '.join(SUFFIXES)})", path=folder)
    return files


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
