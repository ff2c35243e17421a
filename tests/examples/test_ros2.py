"""The ROS node's messages and its line to the service, without ROS."""

from __future__ import annotations

import asyncio
import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).parents[2] / "examples/ros2"
NOW_NS = 1_700_000_000_123_456_789


@pytest.fixture(scope="module")
def ros2() -> Iterator[SimpleNamespace]:
    """The example's files, imported as they are where they run."""
    pytest.importorskip("aiohttp", reason="the node talks to the service with aiohttp")
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("messages", "link", "node")})
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("messages", "link", "node"):
            sys.modules.pop(name, None)


def result(plane: np.ndarray[Any, Any], **more: Any) -> tuple[dict[str, Any], bytes]:
    """A result of the service, with the mask encoded as its documents say."""
    rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
    box, payload = [0, 0, 0, 0], b""
    if rows.size:
        y, x = int(rows[0]), int(columns[0])
        box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
        payload = np.packbits(plane[y : y + box[3], x : x + box[2]], axis=1).tobytes()
    mask = {
        "encoding": "bits",
        "size": list(plane.shape),
        "bbox": box,
        "area": int(plane.sum()),
        "predicted_iou": 0.9,
    }
    told = {
        "type": "result",
        "capture_ns": 5_000_000_007,
        "freshness": "fresh",
        "object_id": None,
        "mask": mask,
    }
    return {**told, **more}, payload


planes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1)).map(
    lambda made: np.random.default_rng(made[2]).random(made[:2]) < made[3]
)


@given(plane=planes)
def test_a_mask_arrives_whole(ros2: SimpleNamespace, plane: np.ndarray[Any, Any]) -> None:
    told, payload = result(plane)
    image = ros2.messages.image(told, payload, 10**9, "camera")
    assert image["encoding"] == "mono8"
    assert (image["height"], image["width"], image["step"]) == (*plane.shape, plane.shape[1])
    seen = np.frombuffer(image["data"], np.uint8).reshape(plane.shape)
    np.testing.assert_array_equal(seen, plane * np.uint8(255))


def test_a_box_has_its_middle_score_and_id(ros2: SimpleNamespace) -> None:
    plane = np.zeros((20, 30), bool)
    plane[4:10, 6:16] = True
    told, _ = result(plane, object_id=7)
    array = ros2.messages.detections(told, 3, "camera_optical")
    (one,) = array["detections"]
    assert one["bbox"] == {
        "center": {"position": {"x": 11.0, "y": 7.0}, "theta": 0.0},
        "size_x": 10.0,
        "size_y": 6.0,
    }
    assert one["results"] == [{"hypothesis": {"class_id": "object", "score": 0.9}}]
    assert one["id"] == "7"
    assert (
        one["header"] == array["header"] == {"stamp": {"sec": 5, "nanosec": 10}, "frame_id": "camera_optical"}
    )


@pytest.mark.parametrize("more", [{"mask": None}, {"freshness": "stale"}])
def test_what_is_not_there_now_is_no_detection(ros2: SimpleNamespace, more: dict[str, Any]) -> None:
    told, _ = result(np.ones((4, 4), bool), **more)
    assert ros2.messages.detections(told, 0, "camera")["detections"] == []
    assert len(ros2.messages.detections(told, 0, "camera", stale=True)["detections"]) == (
        told["mask"] is not None
    )


@given(capture_ns=st.integers(0, 2**62), offset_ns=st.integers(-(2**62), 2**62))
def test_a_stamp_is_a_time_that_ros_takes(ros2: SimpleNamespace, capture_ns: int, offset_ns: int) -> None:
    stamp = ros2.messages.stamp(capture_ns, offset_ns)
    assert 0 <= stamp["nanosec"] < 10**9
    assert stamp["sec"] * 10**9 + stamp["nanosec"] == max(0, capture_ns + offset_ns)


@pytest.mark.parametrize(
    "change",
    [
        {"size": [1 << 20, 1 << 20]},
        {"size": [0, 4]},
        {"bbox": [0, 0, 5, 4]},
        {"bbox": [-1, 0, 4, 4]},
        {"bbox": [0, 0, 4, 3]},
        {"encoding": "png"},
    ],
)
def test_a_mask_that_does_not_fit_is_refused(ros2: SimpleNamespace, change: dict[str, Any]) -> None:
    told, payload = result(np.ones((4, 4), bool))
    told["mask"] |= change
    with pytest.raises(ValueError, match=r"a mask|a box|bytes"):
        ros2.messages.image(told, payload, 0, "camera")


@given(data=st.one_of(st.binary(max_size=40), st.text(max_size=40)))
def test_any_message_is_parsed_or_refused(ros2: SimpleNamespace, data: bytes | str) -> None:
    try:
        header, _ = ros2.messages.parse(data)
    except ValueError:
        return
    assert isinstance(header, dict)


def test_a_binary_message_is_taken_apart(ros2: SimpleNamespace) -> None:
    header = b'{"type": "result"} '
    message = struct.pack("<I", len(header)) + header + b"\1\2"
    assert ros2.messages.parse(message) == ({"type": "result"}, b"\1\2")


@given(
    offset_ns=st.integers(-(10**18), 10**18),
    delays=st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), min_size=1, max_size=20),
)
def test_the_clock_is_known_to_half_of_the_fastest_answer(
    ros2: SimpleNamespace, offset_ns: int, delays: list[tuple[int, int]]
) -> None:
    assert ros2.messages.ClockOffset().ns is None
    clock = ros2.messages.ClockOffset()
    server_ns = 10**15
    for there_ns, back_ns in delays:
        sent_ns = server_ns + offset_ns - there_ns
        clock.add(sent_ns, server_ns, server_ns + offset_ns + back_ns)
    fastest_ns = min(sum(delay) for delay in delays[-8:])
    assert abs(clock.ns - offset_ns) <= fastest_ns / 2 + 1


def test_fields_are_set_in_the_messages_within(ros2: SimpleNamespace) -> None:
    message = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=0)), detections=[], id="")
    ros2.messages.fill(message, {"header": {"stamp": {"sec": 4}}, "detections": [1], "id": "7"})
    assert (message.header.stamp.sec, message.detections, message.id) == (4, [], "7")


def test_the_node_can_be_read_without_ros(ros2: SimpleNamespace) -> None:
    assert callable(ros2.node.main)


def test_gaze_goes_to_the_service_and_its_mask_comes_back(ros2: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="the service needs the extra serve")
    from tests.disc_model import disc_segmenter
    from tests.service.running import WH, run, serving

    images: list[dict[str, Any]] = []
    notes: list[str] = []
    came = Event()

    async def test() -> None:
        with disc_segmenter(tmp_path) as segmenter:
            segmenter.warm_up(WH)
            async with serving(segmenter) as service:
                await service.ready()
                frame = service.stream.scene.frame
                assert frame is not None

                def on_result(told: dict[str, Any], payload: bytes, offset_ns: int) -> None:
                    image = ros2.messages.image(told, payload, offset_ns, "camera")
                    if image is not None:
                        images.append({**image, "offset_ns": offset_ns})
                        came.set()

                link = ros2.link.Link(
                    service.url, None, on_result, lambda: NOW_NS + monotonic_ns(), notes.append
                )
                task = asyncio.create_task(link.run())
                while not (came.is_set() or notes):
                    link.gaze(70, 50)
                    await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert notes == []
                stamp = images[0]["header"]["stamp"]
                t_ns = stamp["sec"] * 10**9 + stamp["nanosec"]
                assert t_ns == frame.capture_ns + images[0]["offset_ns"]
                # Both clocks are this machine's, with a known distance.
                assert abs(images[0]["offset_ns"] - NOW_NS) < 10**9

    run(test)
    assert (images[0]["width"], images[0]["height"]) == WH
    assert set(images[0]["data"]) == {0, 255}
