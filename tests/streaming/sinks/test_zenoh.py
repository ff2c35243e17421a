"""Results over Zenoh, heard by another session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from time import monotonic_ns
from typing import Any

import cv2
import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.threaded import ThreadedSink
from sam_edge.streaming.zenoh.messages import parse_frame_header
from tests.streaming.sinks.made import WH, part, result
from tests.streaming.zenoh.peers import Heard, free_endpoint, peer

pytest.importorskip("zenoh")


def live(index: int, *objects: int | None) -> FrameResult:
    """A frame that is taken now, with results of these objects."""
    now_ns = monotonic_ns()
    made = part(index, [result(now_ns, object_id=one) for one in objects])
    return replace(made, frame=replace(made.frame, capture_ns=now_ns, receive_ns=now_ns))


@pytest.fixture
def endpoint() -> str:
    return free_endpoint()


@pytest.fixture
def consumer(endpoint: str) -> Iterator[Any]:
    with peer(connect=endpoint) as session:
        yield session


def test_masks_by_object_frames_and_status(endpoint: str, consumer: Any) -> None:
    heard = {key: Heard(consumer, f"robot/{key}") for key in ("mask", "mask/7", "frame", "status")}
    run = {"model": "nano-1", "config": "defaults"}
    with ThreadedSink(f"zenoh:robot?listen={endpoint}&fps=30", WH, 25.0, run=run) as sink:
        status = heard["status"].wait(lambda told: told["model"] is not None)
        assert (status["state"], status["model"], status["frame_wh"]) == ("running", "nano-1", list(WH))
        for index in range(200):
            sink.write(live(index, None, 7))
            if all(heard[key].samples for key in ("mask", "mask/7", "frame")):
                break
            # Publishers learn a little later than the status who has subscribed.
            heard["status"].wait()
        gaze, tracked = (heard[key].newest() for key in ("mask", "mask/7"))
        assert gaze["mask"]["rle"]["size"] == [WH[1], WH[0]]
        assert "object_id" not in gaze
        assert tracked["object_id"] == 7
        assert gaze["frame_unix_ns"] == pytest.approx(gaze["t_unix_ns"], abs=10**9)
        sample = heard["frame"].samples[0]
        header = parse_frame_header(bytes(sample.attachment))
        assert header.frame_wh == WH
        image = cv2.imdecode(np.frombuffer(bytes(sample.payload), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (WH[1], WH[0], 3)
    assert heard["status"].newest()["state"] == "ended"


def test_times_of_a_recording_are_not_sold_as_times(endpoint: str, consumer: Any) -> None:
    masks, status = Heard(consumer, "robot/mask"), Heard(consumer, "robot/status")
    with ThreadedSink(f"zenoh:robot?listen={endpoint}", WH, 25.0) as sink:
        status.wait()
        for index in range(200):
            sink.write(part(index, [result(index)]))
            if masks.samples:
                break
            status.wait()
        assert masks.newest()["t_unix_ns"] is None
        assert masks.newest()["t_ms"] is not None


@pytest.mark.parametrize("options", ["fps=31", "fps=0", "clock=unix", "listen=here"])
def test_options_that_are_none(options: str) -> None:
    with pytest.raises(InputError):
        ThreadedSink(f"zenoh:robot?{options}", WH, 25.0)
