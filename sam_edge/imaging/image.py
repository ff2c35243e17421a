"""Images: reading, checking, and making them the encoder's input."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Literal, cast, get_args

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.imaging.resize import resize_antialias
from sam_edge.storage.files import write_bytes

MAX_PIXELS = 100_000_000
"""Larger images are refused: they would take gigabytes, and no encoder sees their detail."""
Layout = Literal["rgb", "bgr", "nv12"]
"""How a frame's pixels lie in memory, uint8 always.

rgb, bgr: (H, W, 3), red or blue first; OpenCV captures bgr.
nv12: (H * 3 / 2, W) for even H and W, H rows of luma and then U and V by turns, one pair for two rows and two
columns; what camera pipelines and hardware decoders give. BT.601 of limited range (luma 16..235), as in OpenCV.
"""
_SHAPE_OF: dict[Layout, str] = {"rgb": "(H, W, 3)", "bgr": "(H, W, 3)", "nv12": "(H * 3 / 2, W)"}


def check_image(image: Any, name: str = "image", layout: Layout = "rgb") -> NDArray[np.uint8]:
    """The image if it is uint8 of that layout's shape, else InputError saying how to make it so."""
    if layout not in _SHAPE_OF:
        raise InputError(
            f"unknown layout {layout!r} of {name}", hint=f"choose one of {', '.join(get_args(Layout))}"
        )
    shape = _SHAPE_OF[layout]
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise InputError(f"{name} is a {kind}", hint=f"give a numpy array {shape} uint8, {layout.upper()}")
    if image.size == 0:
        raise InputError(f"{name} has no pixels, its shape is {image.shape}", hint=f"give {shape}")
    if image.dtype != np.uint8:
        raise InputError(f"{name} has dtype {image.dtype}", hint="scale it to 0..255 and convert it to uint8")
    if layout == "nv12":
        if image.ndim != 2 or image.shape[0] % 3 or image.shape[1] % 2:
            raise InputError(f"{name} has shape {image.shape}: NV12 is {shape}, its height and width even")
        _check_pixels(*image_wh(image, layout), name)
        return image
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        raise InputError(f"{name} is grey", hint="convert it with cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)")
    if image.ndim == 3 and image.shape[2] == 4:
        raise InputError(f"{name} has an alpha channel", hint="drop it with image[..., :3]")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"{name} has shape {image.shape}", hint="give (H, W, 3)")
    _check_pixels(image.shape[1], image.shape[0], name)
    return image


def image_wh(image: NDArray[np.uint8], layout: Layout) -> tuple[int, int]:
    """Width and height in pixels of what has passed `check_image`."""
    rows, columns = image.shape[:2]
    return columns, rows // 3 * 2 if layout == "nv12" else rows


def to_rgb(image: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """A frame as (H, W, 3) uint8 RGB; one that is RGB already is given back as it is.

    Raises:
        InputError: its shape is not the layout's.
    """
    image = check_image(image, layout=layout)
    if layout == "rgb":
        return image
    code = cv2.COLOR_BGR2RGB if layout == "bgr" else cv2.COLOR_YUV2RGB_NV12
    return cast("NDArray[np.uint8]", cv2.cvtColor(image, code))


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB.

    Grey images get three equal channels, alpha is dropped, 16 bits are scaled to 8, and the camera's
    orientation (EXIF) is applied.

    Raises:
        InputError: no file, empty, not an image, truncated, or more than MAX_PIXELS.
    """
    try:
        # Reading a pipe or a device might never end.
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path} is no file", path=path, hint="give an image (JPEG, PNG, WebP, BMP, TIFF)")
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
    if not data:
        raise InputError(f"{path} is empty", path=path, hint="give an image (JPEG, PNG, WebP, BMP, TIFF)")
    # The header is read first: a small file can declare an image that fills the memory.
    _check_pixels(*_declared_size(data), str(path))
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{path} cannot be decoded", path=path, hint="save it anew as JPEG or PNG") from error
    if bgr is None:
        raise InputError(
            f"{path} is not an image, or cut off", path=path, hint="give a JPEG, PNG, WebP, BMP or TIFF file"
        )
    _check_pixels(bgr.shape[1], bgr.shape[0], str(path))
    return cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def check_image_name(path: str | Path) -> None:
    """Raise InputError unless OpenCV writes images of that name's suffix."""
    if not Path(path).suffix or not cv2.haveImageWriter(str(path)):
        raise InputError(f"cannot write {path} as an image", path=path, hint="end its name in .png or .jpg")


def write_image(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Write an image, (H, W) grey or (H, W, 3) RGB, atomically; the suffix names the format.

    Raises:
        InputError: OpenCV writes no format of that suffix.
        OutputError: the file cannot be written.
    """
    check_image_name(path)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    try:
        data = cv2.imencode(Path(path).suffix, pixels)[1]
    except cv2.error as error:
        raise InputError(
            f"cannot write {path}: its format takes no such image", path=path, hint="end it in .png"
        ) from error
    write_bytes(path, data.tobytes())


def encoder_input(image: NDArray[np.uint8], view: View, preprocess: Preprocess) -> NDArray[np.float32]:
    """Cut, resize, normalise and pad a frame (H, W, 3) uint8 RGB into (1, 3, h, w) float32.

    h and w are the view's `encoder_wh`.
    """
    return normalize_and_pad(crop_and_resize(image, view, preprocess), view, preprocess)


def normalize_and_pad(
    pixels: NDArray[np.uint8] | NDArray[np.float32], view: View, preprocess: Preprocess
) -> NDArray[np.float32]:
    """Normalise and pad what `crop_and_resize` gives into (1, 3, h, w) float32."""
    # One pass, image to blob: (pixel - mean) / std as a multiply and an add.
    std = np.array(preprocess.std, np.float32)
    scaled = np.multiply(pixels, 1 / std, dtype=np.float32)
    scaled -= np.array(preprocess.mean, np.float32) / std
    blob = np.zeros((1, 3, view.encoder_wh[1], view.encoder_wh[0]), np.float32)
    blob[0, :, : view.resized_wh[1], : view.resized_wh[0]] = scaled.transpose(2, 0, 1)
    return blob


def crop_and_resize(
    image: NDArray[np.uint8], view: View, preprocess: Preprocess
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """The part of a frame (H, W, 3) that the encoder sees, at its size: (h, w, 3) RGB in 0..255."""
    x, y, width, height = view.window_xywh
    window, size_wh = image[y : y + height, x : x + width], view.resized_wh
    if preprocess.resize == "antialias":
        return resize_antialias(window, size_wh)
    if preprocess.resize == "bilinear":
        # As floats: the reference interpolates without rounding back to pixels.
        pixels = window.astype(np.float32)
        return cast("NDArray[np.float32]", cv2.resize(pixels, size_wh, interpolation=cv2.INTER_LINEAR))
    if (window.shape[1], window.shape[0]) == size_wh:
        return window
    # INTER_AREA enlarges in blocks.
    method = cv2.INTER_LINEAR if size_wh[0] > window.shape[1] else cv2.INTER_AREA
    return cast("NDArray[np.uint8]", cv2.resize(window, size_wh, interpolation=method))


def _declared_size(data: bytes) -> tuple[int, int]:
    """Width and height that an image's header declares; (-1, -1) if it is not understood."""
    try:
        width, height = imagesize.get(BytesIO(data))
    except Exception:  # the parser meets hostile bytes, and OpenCV has the last word
        return -1, -1
    return int(width), int(height)


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} has {width} x {height} pixels, more than {MAX_PIXELS:,}", hint="scale it down first"
        )
