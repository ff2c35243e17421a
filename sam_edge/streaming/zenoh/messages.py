"""The messages, as docs/zenoh.md describes them: making them, and reading what anybody may have sent.

Times are nanoseconds of Unix time (`t_unix_ns`), and `unix_offset_ns` is what the sender added to its own
monotonic clock to get there. So a receiver may use either clock: the monotonic one is never set, Unix time is
alike on machines that something keeps together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic_ns, time_ns
from typing import Any

from sam_edge.streaming.gaze.live.tracker import MAX_TIME_NS, RejectedError, checked_sample
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.objects import TrackedBox

VERSION = 1
MAX_GAZE, MAX_PROMPT, MAX_HEADER, MAX_FRAME = 4096, 65_536, 4096, 1 << 23
"""Bytes; what is larger is thrown away unread."""
MAX_OBJECTS = 64
"""Of a prompt message; of these a stream decodes the surest."""
MAX_ID = 1 << 53
"""Whole numbers up to here are exact in every JSON."""
MAX_SIDE_PX = 65_536
OTHER_CLOCK_NS = 60 * 10**9
"""A time that is farther from now is on another clock."""


@dataclass(frozen=True)
class Stamp:
    """When something was, as its sender says."""

    t_unix_ns: int
    unix_offset_ns: int = 0
    """0: not known, and `own_ns` is Unix time."""

    @property
    def own_ns(self) -> int:
        """On the sender's own clock, which may begin anywhere."""
        return self.t_unix_ns - self.unix_offset_ns

    def here_ns(self, offset_ns: int) -> int:
        """On this machine's monotonic clock, whose Unix time is `offset_ns` more."""
        return self.t_unix_ns - offset_ns


@dataclass(frozen=True)
class FrameHeader:
    """What goes with a JPEG."""

    stamp: Stamp | None
    """When it was taken; None: its sender does not know."""
    index: int
    """Counts the sender's frames."""
    frame_wh: tuple[int, int]
    """Of the frame in its sender's pixels; the JPEG may be smaller."""


def unix_offset_ns() -> int:
    """What to add to `time.monotonic_ns` to get Unix time; it changes when the clock is set."""
    return time_ns() - monotonic_ns()


def envelope(t_ns: int | None, offset_ns: int) -> dict[str, Any]:
    """What all messages begin with.

    Args:
        t_ns: on this machine's monotonic clock; None: a recording, whose times mean nothing elsewhere.
        offset_ns: of `unix_offset_ns`.
    """
    if t_ns is None:
        return {"v": VERSION, "t_unix_ns": None, "unix_offset_ns": None}
    return {"v": VERSION, "t_unix_ns": t_ns + offset_ns, "unix_offset_ns": offset_ns}


def packed(fields: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(fields, separators=(",", ":")).encode()


def gaze_message(
    x_norm: float,
    y_norm: float,
    *,
    confidence: float = 1.0,
    t_ns: int | None = None,
    offset_ns: int | None = None,
) -> bytes:
    """A `/gaze` message.

    Args:
        x_norm: across the frame, 0 to 1 from its left edge.
        y_norm: down the frame, 0 to 1 from its top edge.
        confidence: 0 (a blink, or the eye was not found) to 1.
        t_ns: when, in `time.monotonic_ns`; None: now.
        offset_ns: of `unix_offset_ns`; None: it is asked.
    """
    offset_ns = unix_offset_ns() if offset_ns is None else offset_ns
    look = {"x_norm": x_norm, "y_norm": y_norm, "confidence": confidence}
    return packed(envelope(monotonic_ns() if t_ns is None else t_ns, offset_ns) | look)


def prompt_message(boxes: Sequence[TrackedBox], t_ns: int | None = None, offset_ns: int | None = None) -> bytes:
    """A `/prompt` message: all objects that a tracker sees on one frame.

    Args:
        boxes: in pixels of the frame; their own times are not sent.
        t_ns: capture time of the frame in `time.monotonic_ns`, where it was taken here; None: now.
        offset_ns: of `unix_offset_ns`; None: it is asked.
    """
    offset_ns = unix_offset_ns() if offset_ns is None else offset_ns
    objects = [
        {
            "object_id": one.object_id,
            "box_px": one.box_px,
            "point_px": one.point_px,
            "confidence": one.confidence,
        }
        for one in boxes
    ]
    return packed(envelope(monotonic_ns() if t_ns is None else t_ns, offset_ns) | {"objects": objects})


def frame_header(
    index: int, frame_wh: tuple[int, int], t_ns: int | None, offset_ns: int | None = None
) -> bytes:
    """The attachment of a `/frame` message, see `FrameHeader`; for `t_ns` and `offset_ns` see `envelope`."""
    offset_ns = unix_offset_ns() if offset_ns is None else offset_ns
    return packed(envelope(t_ns, offset_ns) | {"index": index, "frame_wh": frame_wh})


def parse_gaze(payload: bytes, receive_ns: int, offset_ns: int | None = None) -> GazeSample:
    """The sample in a `/gaze` message.

    Args:
        payload: the message.
        receive_ns: when it came; that is its time where it has none.
        offset_ns: of `unix_offset_ns`, to take its Unix time; None: its sender's own clock, with an unknown
            offset.

    Raises:
        RejectedError: `malformed`, `unknown version`, `not finite`, `out of range`, or `another clock`.
    """
    fields = _fields(payload, MAX_GAZE)
    stamp = _stamp(fields)
    x, y, confidence = (_number(fields.get(key, missing)) for key, missing in GAZE_FIELDS)
    if stamp is None:
        return checked_sample(receive_ns, x, y, confidence, clock="host", receive_ns=receive_ns)
    if offset_ns is None:
        return checked_sample(stamp.own_ns, x, y, confidence, clock="source", receive_ns=receive_ns)
    t_ns = _near(stamp.here_ns(offset_ns), receive_ns)
    return checked_sample(t_ns, x, y, confidence, clock="host", receive_ns=receive_ns, offset_ns=-offset_ns)


GAZE_FIELDS: tuple[tuple[str, float | None], ...] = (("x_norm", None), ("y_norm", None), ("confidence", 1.0))


def parse_prompt(payload: bytes, receive_ns: int, offset_ns: int) -> tuple[TrackedBox, ...]:
    """The objects of a `/prompt` message. Numbers are as they came: `admit` looks at them.

    Args:
        payload: the message.
        receive_ns: when it came; that is its time where it has none.
        offset_ns: of `unix_offset_ns`. The time is that of a frame that this machine took, so it is on this
            machine's Unix time.

    Raises:
        RejectedError: `malformed`, `unknown version`, `out of range`, or `another clock`.
    """
    fields = _fields(payload, MAX_PROMPT)
    stamp, objects = _stamp(fields), fields.get("objects")
    if not isinstance(objects, list):
        raise RejectedError("malformed")
    if len(objects) > MAX_OBJECTS:
        raise RejectedError("out of range")
    t_ns = receive_ns if stamp is None else _near(stamp.here_ns(offset_ns), receive_ns)
    return tuple(_box(one, t_ns) for one in objects)


def parse_frame_header(attachment: bytes) -> FrameHeader:
    """The attachment of a `/frame` message.

    Raises:
        RejectedError: `malformed`, `unknown version` or `out of range`.
    """
    fields = _fields(attachment, MAX_HEADER)
    index, size = fields.get("index"), fields.get("frame_wh")
    is_size = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
    if not isinstance(index, int) or type(index) is bool or not isinstance(size, list) or not is_size:
        raise RejectedError("malformed")
    if not (0 <= index < MAX_ID and all(0 < side <= MAX_SIDE_PX for side in size)):
        raise RejectedError("out of range")
    return FrameHeader(_stamp(fields), index, (size[0], size[1]))


def _fields(payload: bytes, limit: int) -> dict[str, Any]:
    if len(payload) > limit:
        raise RejectedError("malformed")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise RejectedError("malformed") from error
    if not isinstance(fields, dict):
        raise RejectedError("malformed")
    version = fields.get("v")
    if type(version) is not int or version != VERSION:
        raise RejectedError("unknown version")
    return fields


def _stamp(fields: dict[str, Any]) -> Stamp | None:
    t_ns, offset_ns = fields.get("t_unix_ns"), fields.get("unix_offset_ns") or 0
    if t_ns is None:
        return None
    if type(t_ns) is not int or type(offset_ns) is not int:
        raise RejectedError("malformed")
    if abs(t_ns) >= MAX_TIME_NS or abs(offset_ns) >= MAX_TIME_NS or abs(t_ns - offset_ns) >= MAX_TIME_NS:
        raise RejectedError("out of range")
    return Stamp(t_ns, offset_ns)


def _near(t_ns: int, receive_ns: int) -> int:
    if abs(t_ns - receive_ns) > OTHER_CLOCK_NS:
        raise RejectedError("another clock")
    return t_ns


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise RejectedError("malformed")
    try:
        return float(value)
    except OverflowError as error:
        raise RejectedError("out of range") from error


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != count:
        raise RejectedError("malformed")
    return tuple(map(_number, value))


def _box(one: Any, t_ns: int) -> TrackedBox:
    if not isinstance(one, dict):
        raise RejectedError("malformed")
    object_id = one.get("object_id")
    if type(object_id) is not int:
        raise RejectedError("malformed")
    if abs(object_id) >= MAX_ID:
        raise RejectedError("out of range")
    box, point = _numbers(one.get("box_px"), 4), _numbers(one.get("point_px"), 2)
    return TrackedBox(
        object_id,
        t_ns,
        None if box is None else (box[0], box[1], box[2], box[3]),
        None if point is None else (point[0], point[1]),
        _number(one.get("confidence", 1.0)),
    )
