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
from sam_edge.imaging.orientation import turns as container_turns
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.imaging.resize import resize_antialias
from sam_edge.storage.files import write_bytes

MAX_PIXELS = 100_000_000
"""Larger images are refused: they would take gigabytes, and no encoder sees their detail."""
READABLE = "give an image (JPEG, PNG, WebP, BMP, TIFF)"
Layout = Literal["rgb", "bgr", "rgba", "bgra", "grey", "nv12", "yuyv", "uyvy"]
"""How a frame's pixels lie in memory, uint8 always.

rgb, bgr: (H, W, 3), red or blue first; OpenCV captures bgr.
rgba, bgra: (H, W, 4), the same with alpha, which is ignored; what screens give.
grey: (H, W).
nv12: (H * 3 / 2, W) for even H and W: H rows of luma, then rows of U and V in turn, one pair for two rows and
two columns; what camera pipelines and hardware decoders give.
yuyv, uyvy: (H, W, 2) for even W: luma of each pixel, and U and V of each two, in the order Y U Y V (also called
YUY2) or U Y V Y; what USB cameras give.
YUV is BT.601 of limited range (luma 16..235), as in OpenCV.
"""
_SHAPE_OF: dict[Layout, str] = {
    "rgb": "(H, W, 3)",
    "bgr": "(H, W, 3)",
    "rgba": "(H, W, 4)",
    "bgra": "(H, W, 4)",
    "grey": "(H, W)",
    "nv12": "(H * 3 / 2, W)",
    "yuyv": "(H, W, 2)",
    "uyvy": "(H, W, 2)",
}
_TO_RGB: dict[Layout, int] = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "grey": cv2.COLOR_GRAY2RGB,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
}


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
    if not _fits(image.shape, layout):
        raise InputError(f"{name} has shape {image.shape}", hint=_shape_hint(image.shape, layout))
    _check_pixels(*image_wh(image, layout), name)
    return image


def _fits(shape: tuple[int, ...], layout: Layout) -> bool:
    if layout == "nv12":
        return len(shape) == 2 and shape[0] % 3 == 0 and shape[1] % 2 == 0
    if layout == "grey":
        return len(shape) == 2
    if layout in ("yuyv", "uyvy"):
        return len(shape) == 3 and shape[2] == 2 and shape[1] % 2 == 0
    return len(shape) == 3 and shape[2] == (4 if layout in ("rgba", "bgra") else 3)


def _shape_hint(shape: tuple[int, ...], layout: Layout) -> str:
    if layout in ("rgb", "bgr") and (len(shape) == 2 or shape[2:] == (1,)):
        return "a grey image needs layout='grey' and the shape (H, W)"
    if layout in ("rgb", "bgr") and len(shape) == 3 and shape[2] == 4:
        return f"an image with alpha needs layout='{layout}a'"
    even = {"nv12": ", H and W even", "yuyv": ", W even", "uyvy": ", W even"}.get(layout, "")
    return f"{layout.upper()} is {_SHAPE_OF[layout]}{even}"


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
    return image if layout == "rgb" else cast("NDArray[np.uint8]", cv2.cvtColor(image, _TO_RGB[layout]))


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB.

    Grey images get three equal channels, alpha is dropped, 16 bits are scaled to 8, and the camera's
    orientation (EXIF, or the properties of an AVIF) is applied.

    Raises:
        InputError: no file, empty, not an image, truncated, or more than MAX_PIXELS.
    """
    try:
        # Reading a pipe or a device might never end.
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path} is not a file", path=path, hint=READABLE)
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
    if not data:
        raise InputError(f"{path} is empty", path=path, hint=READABLE)
    return decode_image(data, str(path), path=path)


def decode_image(data: bytes, name: str, *, path: str | Path | None = None) -> NDArray[np.uint8]:
    """Decode a whole image file, as `read_image` does.

    Args:
        data: the file.
        name: what to call it in an error.
        path: where it lies, if it does.

    Raises:
        InputError: not an image, truncated, or more than MAX_PIXELS.
    """
    # The header is read first: a small file can declare an image that fills the memory.
    _check_pixels(*_declared_size(data), name)
    turns = container_turns(data, name)
    flags = cv2.IMREAD_COLOR if turns is None else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"{name} cannot be decoded", path=path, hint="save it again as JPEG or PNG") from error
    if pixels is None:
        if data[4:8] == b"ftyp":
            raise InputError(
                f"{name} is cut off, or a kind of HEIC or AVIF that this OpenCV cannot decode",
                path=path,
                hint="convert it to JPEG or PNG",
            )
        raise InputError(f"{name} is not an image, or cut off", path=path, hint=READABLE)
    _check_pixels(pixels.shape[1], pixels.shape[0], name)
    rgb = cast("NDArray[np.uint8]", cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    for turn in turns or ():
        rgb = turn(rgb)
    return np.ascontiguousarray(rgb)


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
            f"cannot write {path}: its format cannot hold this image", path=path, hint="end it in .png"
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
