"""What the service says, as the fields of ROS messages. Needs numpy alone: no ROS, no sam_edge.

A mask is a `sensor_msgs/msg/Image` (mono8: 255 on the object) with the size of the camera's frame, and a
`vision_msgs/msg/Detection2DArray` with its box, score and id; vision_msgs has no message for masks. Both have
the capture time of the frame they lie on as their stamp, so a synchronizer matches them with the camera's
images. Fields and names are those of sensor_msgs and of vision_msgs 4 (Humble and later).
"""

from __future__ import annotations

import json
import struct
from collections import deque
from typing import Any

import numpy as np

MAX_PIXELS = 1 << 26
CLASS = "object"
"""The model knows no classes: everything is one."""
PINGS = 8


class ClockOffset:
    """Nanoseconds from the service's monotonic clock to ROS's, by asking: NTP's rule, the fastest answer of the
    last few counts."""

    def __init__(self) -> None:
        self._answers: deque[tuple[int, int]] = deque(maxlen=PINGS)

    def add(self, sent_ns: int, server_ns: int, received_ns: int) -> None:
        """An answer: asked and heard on ROS's clock, given on the server's between the two."""
        round_trip_ns = received_ns - sent_ns
        if round_trip_ns < 0:  # ROS's clock was set in between
            self._answers.clear()
            return
        self._answers.append((round_trip_ns, (sent_ns + received_ns) // 2 - server_ns))

    @property
    def ns(self) -> int | None:
        """None as long as nobody answered."""
        return min(self._answers)[1] if self._answers else None


def parse(message: bytes | str) -> tuple[dict[str, Any], bytes]:
    """Header and payload of what came over the WebSocket.

    Raises:
        ValueError: it is not a message.
    """
    if isinstance(message, str):
        header, payload = json.loads(message), b""
    else:
        if len(message) < 4:
            raise ValueError("a message without a header")
        (length,) = struct.unpack_from("<I", message)
        header, payload = json.loads(message[4 : 4 + length]), message[4 + length :]
    if not isinstance(header, dict):
        raise ValueError("a message that is no object")
    return header, payload


def stamp(capture_ns: int, offset_ns: int) -> dict[str, int]:
    """`builtin_interfaces/msg/Time` of a capture time; what is before ROS's zero is zero."""
    t_ns = max(0, capture_ns + offset_ns)
    return {"sec": t_ns // 10**9, "nanosec": t_ns % 10**9}


def header(result: dict[str, Any], offset_ns: int, frame_id: str) -> dict[str, Any]:
    """`std_msgs/msg/Header` of a result."""
    return {"stamp": stamp(int(result["capture_ns"]), offset_ns), "frame_id": frame_id}


def image(result: dict[str, Any], payload: bytes, offset_ns: int, frame_id: str) -> dict[str, Any] | None:
    """`sensor_msgs/msg/Image` of a result with its mask as `bits`; None without a mask.

    Raises:
        ValueError: size, box and payload do not fit.
    """
    mask = result["mask"]
    if mask is None:
        return None
    height, width = (int(side) for side in mask["size"])
    x, y, across, down = (int(side) for side in mask["bbox"])
    if not (0 < height * width <= MAX_PIXELS and min(height, width) > 0):
        raise ValueError(f"a mask of {width} x {height}")
    if not (0 <= x <= x + across <= width and 0 <= y <= y + down <= height):
        raise ValueError(f"a box of {across} x {down} at ({x}, {y}) in {width} x {height}")
    row = (across + 7) // 8
    if mask["encoding"] != "bits" or len(payload) != row * down:
        raise ValueError(f"{len(payload)} bytes of {mask['encoding']} for a box of {across} x {down}")
    plane = np.zeros((height, width), np.uint8)
    if payload:
        packed = np.frombuffer(payload, np.uint8).reshape(down, row)
        plane[y : y + down, x : x + across] = np.unpackbits(packed, axis=1, count=across) * 255
    return {
        "header": header(result, offset_ns, frame_id),
        "height": height,
        "width": width,
        "encoding": "mono8",
        "is_bigendian": 0,
        "step": width,
        "data": plane.tobytes(),
    }


def detections(result: dict[str, Any], offset_ns: int, frame_id: str, *, stale: bool = False) -> dict[str, Any]:
    """`vision_msgs/msg/Detection2DArray` of a result: one detection, or none where there is no mask.

    Args:
        result: of the service.
        offset_ns: see `ClockOffset`.
        frame_id: of the camera.
        stale: whether stale masks, which show what was and not what is, count as masks.
    """
    head = header(result, offset_ns, frame_id)
    mask = result["mask"]
    if mask is None or not mask["area"] or (result["freshness"] == "stale" and not stale):
        return {"header": head, "detections": []}
    x, y, width, height = (float(side) for side in mask["bbox"])
    one = {
        "header": head,
        "results": [{"hypothesis": {"class_id": CLASS, "score": float(mask["predicted_iou"])}}],
        "bbox": {
            "center": {"position": {"x": x + width / 2, "y": y + height / 2}, "theta": 0.0},
            "size_x": width,
            "size_y": height,
        },
        "id": "" if result["object_id"] is None else str(result["object_id"]),
    }
    return {"header": head, "detections": [one]}


def fill(message: Any, values: dict[str, Any]) -> Any:
    """Set the fields of a ROS message, and of the messages in it; lists are left to the caller, who knows their
    types."""
    for name, value in values.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif not isinstance(value, list):
            setattr(message, name, value)
    return message
