"""The image files in a recording."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.imaging.image import decode_image
from sam_edge.streaming.sinks.jpegs import QUALITY
from sam_edge.streaming.sources.source import Frame

Frames = Literal["png", "jpeg"]
"""`png` is as it came. `jpeg` is smaller; the stream that is recorded sees the JPEG as well, so that it can be
repeated to the bit."""

# A filter that looks at both neighbours and no search for repeats: a little faster than OpenCV's own settings,
# and no larger (docs/recording.md). Older OpenCV does not let the filter be chosen.
_FILTER = getattr(cv2, "IMWRITE_PNG_FILTER", None)
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
if _FILTER is not None:
    _PNG += [_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]


def to_file(image: NDArray[np.uint8], kind: Frames) -> bytes:
    """An image (H, W, 3) uint8 RGB as a file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded: bytes = cv2.imencode(f".{kind}", bgr, _PNG if kind == "png" else _JPEG)[1].tobytes()
    return encoded


def to_frame(content: dict[str, Any], file: bytes, name: str) -> Frame:
    """The frame that a message of `/frames` tells of.

    Args:
        content: its JSON.
        file: what `/camera` gave before.
        name: of the recording, for errors.

    Raises:
        InputError: no image.
        TypeError, KeyError, ValueError: not such a message.
    """
    return Frame(
        decode_image(file, f"a frame of {name}"),
        int(content["index"]),
        int(content["capture_ns"]),
        int(content["receive_ns"]),
        int(content["offset_ns"]),
    )
