"""Boxes of a tracker elsewhere become masks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.zenoh.messages import prompt_message
from sam_edge.streaming.zenoh.prompts import ZenohPrompts
from tests.disc_model import disc_segmenter
from tests.streaming.live.watching import picture
from tests.streaming.zenoh.peers import await_match, free_endpoint, peer

pytest.importorskip("zenoh")


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    with Stream(disc_segmenter(tmp_path)) as opened:
        yield opened


def test_boxes_become_masks_and_what_is_no_prompt_is_counted(stream: Stream) -> None:
    endpoint = free_endpoint()
    prompts = ZenohPrompts(f"zenoh:robot?listen={endpoint}", stream)
    results = stream.results()
    now_ns = time.monotonic_ns()
    stream.push_frame(picture(0), now_ns)
    with peer(connect=endpoint) as tracker:
        publisher = tracker.declare_publisher("robot/prompt")
        await_match(publisher)
        for malformed in (b"", b"[]", b'{"v": 1}', b'{"v": 3}', b"x" * 100_000):
            publisher.put(malformed)
        publisher.put(prompt_message([TrackedBox(7, 0, box_px=(80, 40, 130, 90))], now_ns))
        result = next(result for result in results if result.object_id == 7)
    assert result.masks is not None
    assert result.masks.binary.any()
    assert (result.x_px, result.y_px) == pytest.approx((105, 65), abs=1)
    assert dict(prompts.dropped) == {"malformed": 4, "unknown version": 1}
    prompts.close()
