"""What goes over the WebSocket, as docs/service.md writes it down."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.masks import Masks
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.jpegs import MAX_SIDE, shrunk
from sam_edge.streaming.sinks.jsonl import ResultLines
from sam_edge.streaming.sources.source import Frame

VERSION = 1
JPEG_QUALITY = 85
ALIGN = 8
Message = str | bytes
MaskEncoding = Literal["rle", "png", "bits", "none"]
Tensors = Literal["float16", "float32"]


def text(kind: str, **fields: Any) -> str:
    """A text message."""
    return json.dumps({"v": VERSION, "type": kind, **fields}, separators=(",", ":"))


def binary(kind: str, payload: bytes, **fields: Any) -> bytes:
    """A binary message: the header's length, the header, the payload at a multiple of 8 bytes."""
    header = text(kind, **fields).encode()
    header += b" " * (-(4 + len(header)) % ALIGN)
    return struct.pack("<I", len(header)) + header + payload


def parse_binary(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a binary message."""
    (length,) = struct.unpack_from("<I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def embedding_message(embedding: Embedding, dtype: Tensors) -> bytes:
    """An embedding for a decoder elsewhere."""
    tensors, parts, offset = {}, [], 0
    for name, tensor in embedding.tensors.items():
        array = np.ascontiguousarray(np.asarray(tensor), dtype)
        part = array.tobytes()
        part += bytes(-len(part) % ALIGN)
        tensors[name] = {"dtype": dtype, "shape": list(array.shape), "offset": offset}
        parts.append(part)
        offset += len(part)
    view = embedding.view
    where = {
        "frame_wh": view.frame_wh,
        "window_xywh": view.window_xywh,
        "content_wh": view.content_wh,
        "input_wh": view.input_wh,
        "fit": view.fit,
    }
    return binary(
        "embedding",
        b"".join(parts),
        model=embedding.model_id,
        capture_ns=embedding.capture_ns,
        view=where,
        tensors=tensors,
    )


def frame_message(frame: Frame) -> bytes:
    """A frame as JPEG, scaled down where it is large."""
    image = shrunk(frame.image, MAX_SIDE / max(frame.image.shape[:2]))
    return binary(
        "frame",
        to_jpeg(image),
        index=frame.index,
        capture_ns=frame.capture_ns,
        wh=image.shape[1::-1],
        frame_wh=frame.image.shape[1::-1],
    )


def to_jpeg(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 3) RGB as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded: bytes = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
    return encoded


class ResultMessages:
    """Makes messages of results. What several clients want is made once."""

    def __init__(self) -> None:
        self._line = ResultLines()
        self._result: Result | None = None
        self._made: dict[tuple[MaskEncoding, bool], Message] = {}

    def __call__(
        self, frame_result: FrameResult, result: Result, masks: MaskEncoding, candidates: bool
    ) -> Message:
        """The message for one who wants masks in that encoding, and the other masks too or not."""
        if self._result is not result:
            self._result, self._made = result, {}
        key = (masks, candidates)
        if key not in self._made:
            self._made[key] = self._make(frame_result, result, masks, candidates)
        return self._made[key]

    def _make(
        self, frame_result: FrameResult, result: Result, masks: MaskEncoding, candidates: bool
    ) -> Message:
        image = frame_result.frame.image
        shown = result if masks == "rle" else replace(result, masks=None)
        fields = self._line(frame_result, shown)
        fields |= {
            "object_id": result.object_id,
            "capture_ns": frame_result.frame.capture_ns,
            "frame_wh": [image.shape[1], image.shape[0]],
        }
        if candidates:
            others = result.candidates()
            fields["candidates"] = None if others is None else others.to_coco()
        if masks in ("png", "bits") and result.masks is not None:
            fields["mask"], payload = cropped(result.masks, "png" if masks == "png" else "bits")
            return binary("result", payload, **fields)
        return text("result", **fields)


def cropped(masks: Masks, encoding: Literal["png", "bits"]) -> tuple[Mapping[str, Any], bytes]:
    """The first mask's box, and the part of the mask in it."""
    plane: NDArray[np.bool_] = masks.binary[0]
    x, y, width, height = cv2.boundingRect(plane.view(np.uint8))
    part = plane[y : y + height, x : x + width]
    if not part.size:
        payload = b""
    elif encoding == "png":
        payload = cv2.imencode(".png", part.view(np.uint8) * 255)[1].tobytes()
    else:
        payload = np.packbits(part, axis=1).tobytes()
    return {
        "encoding": encoding,
        "size": list(plane.shape),
        "bbox": [x, y, width, height],
        "area": int(np.count_nonzero(part)),
        "predicted_iou": round(float(masks.predicted_iou[0]), 4),
        "stability_score": round(float(masks.stability_score()[0]), 4),
    }, payload
