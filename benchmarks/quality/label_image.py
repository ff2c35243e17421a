"""Label images: a number for every pixel, also where a PNG keeps the numbers as indices of a palette."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError

VOID = 255
"""In PASCAL VOC's palette images: the seam between objects, which belongs to none of them."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = 3
"""IHDR's colour type of a PNG with a palette."""
HINT = "give labels as a PNG of one channel, or with a palette: 0 where nothing is labelled, a number an object"


def read_labels(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The numbers (H, W) of a label image: 0 where nothing is labelled, a positive number for each object.

    PNGs with a palette (DAVIS, PASCAL VOC, labelme) give its indices; there 255 is void, and becomes 0, unless
    it is the only number beside 0.

    Raises:
        InputError: the file is missing, not an image, or has several channels.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
    indexed = _with_grey_palette(data)
    labels = _decoded(indexed or data)
    if labels is None:
        raise InputError(f"{path} is not an image, or cut off", path=path, hint=HINT)
    if indexed is not None:
        labels = labels if labels.ndim == 2 else labels[..., 0]
        numbers = np.unique(labels)
        if VOID in numbers and not set(numbers.tolist()) <= {0, VOID}:
            labels = np.where(labels == VOID, 0, labels)
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} has {1 if labels.ndim == 2 else labels.shape[2]} channels of {labels.dtype}",
            path=path,
            hint=HINT,
        )
    return labels


def _decoded(data: bytes) -> NDArray[Any] | None:
    """An image's values (H, W) or (H, W, channels); None if OpenCV cannot read it."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        return None


def _with_grey_palette(data: bytes) -> bytes | None:
    """A palette PNG whose palette is replaced by greys of the indices' own values; None for other files.

    So OpenCV, which answers with colours, answers with the indices.
    """
    if not data.startswith(SIGNATURE) or data[25:26] != bytes([PALETTE]):
        return None
    made, bits = [SIGNATURE], data[24]
    greys = bytes(index for index in range(2**bits) for _ in range(3))
    for kind, stored in _chunks(data):
        content = greys if kind == b"PLTE" else stored
        # Transparency, gamma and profiles would change the values.
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            made.append(struct.pack(">I", len(content)) + kind + content)
            made.append(struct.pack(">I", zlib.crc32(kind + content)))
    return b"".join(made)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; a cut off one at the end is left out."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if at + 12 + size > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size
