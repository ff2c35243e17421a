"""What anybody may send: it is read, or refused for a reason, and nothing else happens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.live.tracker import RejectedError
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.zenoh.messages import (
    MAX_OBJECTS,
    Stamp,
    frame_header,
    gaze_message,
    parse_frame_header,
    parse_gaze,
    parse_prompt,
    prompt_message,
)

NOW_NS = 5_000_000_000_000
OFFSET_NS = 1_700_000_000_000_000_000
LATE_NS = 3_000_000
PARSERS: list[Callable[[bytes], object]] = [
    lambda payload: parse_gaze(payload, NOW_NS),
    lambda payload: parse_gaze(payload, NOW_NS, OFFSET_NS),
    lambda payload: parse_prompt(payload, NOW_NS, OFFSET_NS),
    parse_frame_header,
]
shares = st.floats(-10, 10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ("t_unix_ns", "unix_offset_ns", "x_norm", "y_norm", "confidence", "index", "frame_wh", "objects")
)
objects = st.lists(
    st.dictionaries(st.sampled_from(("object_id", "box_px", "point_px", "confidence")), values) | values,
    max_size=3,
)


@given(shares, shares, st.floats(0, 1))
def test_gaze_on_either_clock(x: float, y: float, confidence: float) -> None:
    payload = gaze_message(x, y, confidence=confidence, t_ns=NOW_NS - LATE_NS, offset_ns=OFFSET_NS)
    own = parse_gaze(payload, NOW_NS)
    assert (own.x_norm, own.y_norm, own.confidence) == (x, y, confidence)
    assert (own.t_ns, own.clock, own.receive_ns) == (NOW_NS - LATE_NS, "source", NOW_NS)
    here = parse_gaze(payload, NOW_NS, OFFSET_NS + 7)
    assert (here.t_ns, here.clock, here.offset_ns) == (NOW_NS - LATE_NS - 7, "host", -OFFSET_NS - 7)


def test_gaze_without_a_time_was_when_it_came() -> None:
    sample = parse_gaze(b'{"v": 1, "x_norm": 0.25, "y_norm": 1}', NOW_NS)
    assert (sample.t_ns, sample.clock, sample.confidence, sample.y_norm) == (NOW_NS, "host", 1.0, 1.0)


def test_unix_time_of_a_clock_that_is_not_set_is_refused() -> None:
    payload = gaze_message(0.5, 0.5, t_ns=NOW_NS, offset_ns=0)
    with pytest.raises(RejectedError, match="another clock"):
        parse_gaze(payload, NOW_NS, OFFSET_NS)


@given(st.lists(st.tuples(st.integers(-9, 9), st.tuples(shares, shares, shares, shares) | st.none(), shares)))
def test_prompts(seen: list[tuple[int, tuple[float, float, float, float] | None, float]]) -> None:
    boxes = tuple(TrackedBox(number, NOW_NS, box, (x, x), 0.5) for number, box, x in seen[:MAX_OBJECTS])
    assert parse_prompt(prompt_message(boxes, NOW_NS, OFFSET_NS), NOW_NS, OFFSET_NS) == boxes


def test_frame_headers() -> None:
    header = parse_frame_header(frame_header(7, (640, 360), NOW_NS, OFFSET_NS))
    assert (header.index, header.frame_wh) == (7, (640, 360))
    assert header.stamp == Stamp(NOW_NS + OFFSET_NS, OFFSET_NS)
    assert header.stamp.own_ns == NOW_NS
    assert parse_frame_header(frame_header(7, (640, 360), None, OFFSET_NS)).stamp is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"v": 2, "x_norm": 0, "y_norm": 0}, "unknown version"),
        ({"v": True, "x_norm": 0, "y_norm": 0}, "unknown version"),
        ({"x_norm": 0, "y_norm": 0}, "unknown version"),
        ({"v": 1, "x_norm": 0}, "malformed"),
        ({"v": 1, "x_norm": "0", "y_norm": 0}, "malformed"),
        ({"v": 1, "x_norm": 0, "y_norm": 0, "t_unix_ns": 1.5}, "malformed"),
        ({"v": 1, "x_norm": 0, "y_norm": 0, "t_unix_ns": 1 << 80}, "out of range"),
        ({"v": 1, "x_norm": math.nan, "y_norm": 0}, "not finite"),
        ({"v": 1, "x_norm": 10**400, "y_norm": 0}, "out of range"),
        ({"v": 1, "x_norm": 0, "y_norm": 0, "confidence": 2}, "out of range"),
        ([1], "malformed"),
        ({"v": 1, "x_norm": 0, "y_norm": 0, "more": "x" * 5000}, "malformed"),
    ],
)
def test_gaze_that_is_refused(fields: object, why: str) -> None:
    with pytest.raises(RejectedError, match=why):
        parse_gaze(json.dumps(fields).encode(), NOW_NS)


def test_too_many_objects_are_refused() -> None:
    boxes = [TrackedBox(k, 0, point_px=(1, 1)) for k in range(MAX_OBJECTS + 1)]
    with pytest.raises(RejectedError, match="out of range"):
        parse_prompt(prompt_message(boxes, NOW_NS, OFFSET_NS), NOW_NS, OFFSET_NS)


@pytest.mark.parametrize("parse", PARSERS)
@given(
    st.binary(max_size=50)
    | st.dictionaries(keys, values | objects).map(lambda d: json.dumps({"v": 1} | d).encode())
)
@example(b"[" * 3000)
@example(b'{"v":1,"objects":' + b"[" * 3000)
@example(b"9" * 4000)
def test_nothing_that_comes_raises(parse: Callable[[bytes], object], payload: bytes) -> None:
    with suppress(RejectedError):
        parse(payload)
