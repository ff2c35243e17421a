"""The camera's orientation in WebP and AVIF files.

OpenCV turns JPEG, PNG and TIFF upright. WebP's EXIF it reads in newer releases only, and the rotation and the
mirroring of an AVIF container not at all, so both are read here.
Sources: EXIF 2.32, tag 0x0112; WebP container specification; ISO/IEC 14496-12 (boxes) and 23008-12 (pitm, ipco,
ipma, irot, imir, clap).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError

Pixels = NDArray[np.uint8]
Turn = Callable[[Pixels], Pixels]
"""(H, W, channels) -> the same pixels, rotated or mirrored."""
ORIENTATION_TAG = 0x0112
EXIF_TURNS: dict[int, tuple[int, bool]] = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
"""EXIF orientation -> quarter turns counter-clockwise, and whether left and right are exchanged afterwards."""


def turns(data: bytes, name: str) -> list[Turn] | None:
    """What makes the decoded pixels of a WebP or AVIF file upright, in order; None for other formats.

    An AVIF's EXIF is not looked at: the container's properties alone say how to show it.

    Args:
        data: the whole file.
        name: what to call it in an error.

    Raises:
        InputError: an AVIF that shows a part of its pixels only (clean aperture).
    """
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_turns(data)
        if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1", b"miaf"):
            properties = _avif_properties(data)
        else:
            return None
    except (struct.error, LookupError, ValueError):
        # A damaged container: whether it can be decoded is for the decoder to say.
        return []
    if any(kind == b"clap" for kind, _ in properties):
        raise InputError(
            f"{name} shows only a part of its pixels (clean aperture)", hint="save it as JPEG or PNG"
        )
    found: list[Turn] = []
    for kind, body in properties:
        if kind == b"irot":
            found.append(_rotated(body[0] & 3))
        elif kind == b"imir":
            found.append(_mirrored(body[0] & 1))
    return found


def _rotated(quarters: int) -> Turn:
    return lambda pixels: np.rot90(pixels, quarters)


def _mirrored(axis: int) -> Turn:
    return lambda pixels: np.flip(pixels, axis)


def _webp_turns(data: bytes) -> list[Turn]:
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        if data[at : at + 4] == b"EXIF":
            quarters, mirror = EXIF_TURNS.get(_exif_orientation(data[at + 8 : at + 8 + size]), (0, False))
            return [_rotated(quarters), *[_mirrored(1)] * mirror]
        at += 8 + size + size % 2
    return []


def _exif_orientation(exif: bytes) -> int:
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(count):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
        if tag == ORIENTATION_TAG:
            return int(value)
    return 1


def _avif_properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content (a byte or more) of the primary item's properties, in the order in which they apply."""
    # meta, pitm and ipma begin with a version and flags, four bytes.
    meta = dict(_boxes(dict(_boxes(data))[b"meta"][4:]))
    (primary,) = struct.unpack_from(">I" if meta[b"pitm"][0] else ">H", meta[b"pitm"], 4)
    parts = list(_boxes(meta[b"iprp"]))
    properties = list(_boxes(dict(parts)[b"ipco"]))
    numbers = [index for kind, body in parts if kind == b"ipma" for index in _associated(body, primary)]
    return [properties[number - 1] for number in numbers if properties[number - 1][1]]


def _associated(ipma: bytes, item: int) -> list[int]:
    """Numbers, from 1, of the properties of an item, in the order in which they apply."""
    (entries,) = struct.unpack_from(">I", ipma, 4)
    width = 2 if ipma[3] & 1 else 1
    at = 8
    for _ in range(entries):
        (owner,) = struct.unpack_from(">I" if ipma[0] else ">H", ipma, at)
        at += 4 if ipma[0] else 2
        count = ipma[at]
        numbers = [
            # The highest bit says that the property is essential.
            int.from_bytes(ipma[at + 1 + width * k :][:width], "big") & (0x7FFF if width == 2 else 0x7F)
            for k in range(count)
        ]
        if owner == item:
            return [number for number in numbers if number]
        at += 1 + width * count
    return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box."""
    at = 0
    while at + 8 <= len(data):
        size, head = struct.unpack_from(">I", data, at)[0], 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        elif size == 0:
            size = len(data) - at
        if size < head:
            raise ValueError("a box is smaller than its head")
        yield data[at + 4 : at + 8], data[at + head : at + size]
        at += size
