"""A tracker's objects, and objects that are followed."""

from __future__ import annotations

from time import monotonic_ns

import pytest

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.follow import FollowConfig
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.scheduler import SchedulerConfig
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.objects import TrackedBox
from tests.streaming.live.watching import PATIENCE_S, Later, look, picture


def test_tracked_boxes_are_answered_each_by_its_id(stream: Stream) -> None:
    look(stream, 100, 60)
    now_ns = monotonic_ns()
    boxes = [
        TrackedBox(7, now_ns, point_px=(60, 40)),
        TrackedBox(9, now_ns, point_px=(200, 90)),
        TrackedBox(11, now_ns, point_px=(float("nan"), 90)),
    ]
    with Later(stream) as later:
        stream.push_boxes(boxes)
        stream.drain(PATIENCE_S)
    found = {result.object_id: result for result in later.results if result.object_id is not None}
    assert found.keys() == {7, 9}
    for object_id, (x, y) in ((7, (60, 40)), (9, (200, 90))):
        masks = found[object_id].masks
        assert masks is not None
        assert masks.binary[0, y, x]
    assert stream.report().dropped["boxes invalid"] == 1


def test_what_is_followed_stays_until_it_is_dropped(segmenter: Segmenter) -> None:
    config = StreamConfig(
        scheduler=SchedulerConfig(max_encodes_per_s=1e6), follow=FollowConfig(least_likeness=-1)
    )
    with Stream(segmenter, config) as stream:
        with pytest.raises(InputError, match="nothing is masked"):
            stream.follow(3)
        look(stream, 100, 60)
        stream.follow(3)
        with Later(stream) as later:
            stream.push_frame(picture(10))
            stream.drain(PATIENCE_S)
        followed = [result for result in later.results if result.object_id == 3]
        assert followed
        assert followed[-1].x_px == pytest.approx(110, abs=8)
        stream.unfollow(3)
        with Later(stream) as later:
            stream.push_frame(picture(20))
            stream.drain(PATIENCE_S)
        assert [result for result in later.results if result.object_id == 3] == []


def test_a_followed_object_that_is_lost_is_said_to_be_once(segmenter: Segmenter) -> None:
    config = StreamConfig(
        scheduler=SchedulerConfig(max_encodes_per_s=1e6), follow=FollowConfig(least_predicted_iou=1, patience=1)
    )
    with Stream(segmenter, config) as stream:
        look(stream, 100, 60)
        stream.follow(3)
        with Later(stream) as later:
            for shift in (10, 20):
                stream.push_frame(picture(shift))
                stream.drain(PATIENCE_S)
        assert [result.status for result in later.results if result.object_id == 3] == ["lost"]
