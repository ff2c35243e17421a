"""What a capture device or decoder gives, as RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import Layout, decode_image, to_rgb

LAYOUTS: dict[str, Layout] = {"YUYV": "yuyv", "UYVY": "uyvy", "NV12": "nv12", "GREY": "grey"}
"""Four-letter codes of Video4Linux whose bytes are a layout of ours."""
JPEG = frozenset(("MJPG", "JPEG"))
_CHANNELS: dict[int, Layout] = {1: "grey", 3: "bgr", 4: "bgra"}


def raw_to_rgb(data: NDArray[np.uint8], code: str, frame_wh: tuple[int, int], name: str) -> NDArray[np.uint8]:
    """A raw frame of a device as (H, W, 3) uint8 RGB.

    Args:
        data: its bytes, in any shape.
        code: how they lie, one of LAYOUTS or JPEG.
        frame_wh: width and height in pixels; a JPEG says its own.
        name: what to call the device in an error.

    Raises:
        InputError: too few bytes for the size, or not a JPEG.
    """
    if code in JPEG:
        return decode_image(data.tobytes(), f"a frame of {name}")
    width, height = frame_wh
    layout = LAYOUTS[code]
    shape = {"nv12": (height * 3 // 2, width), "grey": (height, width)}.get(layout, (height, width, 2))
    size = int(np.prod(shape))
    if data.size < size or size == 0:
        raise InputError(f"a frame of {name} has {data.size} bytes: {code} of {width} x {height} has {size}")
    # Drivers may pad the end of a frame.
    return to_rgb(data.reshape(-1)[:size].reshape(shape), layout)


def opencv_to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What OpenCV decodes, grey, BGR or BGRA, as (H, W, 3) uint8 RGB.

    Raises:
        InputError: another number of channels, or not 8 bits.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels not in _CHANNELS:
        raise InputError(f"a frame has {channels} channels", hint="1, 3 and 4 are understood")
    return to_rgb(image[:, :, 0] if image.ndim == 3 and channels == 1 else image, _CHANNELS[channels])
