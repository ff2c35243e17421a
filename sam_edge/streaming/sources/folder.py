"""Frames that are image files in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import READABLE, read_image
from sam_edge.streaming.sources.options import read_fps, split_options
from sam_edge.streaming.sources.source import Frame, SourceInfo

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm"))
DEFAULT_FPS = 30.0


class FolderSource:
    """The images of a folder in the order of their names, at a steady rate. Other files are left out."""

    def __init__(self, folder: Path, fps: float, notes: tuple[str, ...] = ()) -> None:
        """Find the images and read the first one that can be read.

        Raises:
            InputError: no folder, or no image in it.
        """
        try:
            names = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise InputError(f"cannot read {folder}: {error.strerror}", path=folder) from error
        if not names:
            raise InputError(f"{folder} holds no images", path=folder, hint=READABLE)
        self._paths = names
        self._closing = Event()
        self.lost_frames = 0
        first = read_image(names[0])
        self.info = SourceInfo((first.shape[1], first.shape[0]), fps, len(names), notes=notes)

    def __iter__(self) -> Iterator[Frame]:
        """Every image. One that cannot be read leaves its place in time empty and counts as lost.

        Raises:
            InputError: an image of another size than the first one.
        """
        self.lost_frames = index = 0
        for number, path in enumerate(self._paths):
            if self._closing.is_set():
                return
            image = self._read(path)
            if image is not None:
                yield Frame(image, index, round(number / self.info.fps * 1e9))
                index += 1

    def close(self) -> None:
        """End the iteration."""
        self._closing.set()

    def _read(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            image = read_image(path)
        except InputError:
            self.lost_frames += 1
            return None
        wh = image.shape[1], image.shape[0]
        if wh != self.info.frame_wh:
            width, height = self.info.frame_wh
            raise InputError(
                f"{path} has {wh[0]} x {wh[1]} pixels, the images before it {width} x {height}",
                path=path,
                hint="put images of one size into the folder",
            )
        return image


def open_folder(name: str, *, rate_hz: float | None = None) -> FolderSource:
    """The folder that `FOLDER?fps=10` names; the rate may also be given as `rate_hz`.

    Raises:
        InputError: no images, or a wrong option.
    """
    base, options = (name, {}) if Path(name).is_dir() else split_options(name, ("fps",))
    fps = rate_hz or read_fps(options, name)
    notes = (
        () if fps else (f"{base} has no times: {DEFAULT_FPS:g} frames/s are assumed; give ?fps= for another",)
    )
    return FolderSource(Path(base), fps or DEFAULT_FPS, notes)
