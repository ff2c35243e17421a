"""The WebSocket: what goes in, and what comes out."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from sam_edge.segmenter import Segmenter
from sam_edge.service.live.wire import parse_binary
from tests.service.running import PATIENCE_S, WH, Running, message, run, serving, until


async def binary(socket: aiohttp.ClientWebSocketResponse, kind: str) -> tuple[dict[str, Any], bytes]:
    """The next binary message of a type."""
    while True:
        found = await socket.receive(PATIENCE_S)
        assert found.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), found
        if found.type is aiohttp.WSMsgType.BINARY:
            header, payload = parse_binary(found.data)
            if header["type"] == kind:
                return header, payload


async def joined(service: Running) -> aiohttp.ClientWebSocketResponse:
    socket = await service.http.ws_connect("/v1/stream")
    assert (await message(socket, "hello"))["v"] == 1
    return socket


async def say(socket: aiohttp.ClientWebSocketResponse, kind: str, **fields: Any) -> None:
    await socket.send_json({"type": kind, **fields})


def test_gaze_becomes_masks(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            socket = await joined(service)
            await say(socket, "gaze", x_px=70, y_px=50)
            result = await message(socket, "result")
            assert result["status"] == "mask"
            assert (result["x_px"], result["frame_wh"]) == (70, list(WH))
            plane = coco.decode(result["mask"]["rle"])
            assert plane[50, 70]
            await say(socket, "gaze", x_norm=0.5, y_norm=0.5, confidence=0.0)
            await socket.close()

    run(test)


@pytest.mark.parametrize("encoding", ["bits", "png"])
def test_masks_can_be_binary(segmenter: Segmenter, encoding: str) -> None:

    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            socket = await joined(service)
            await say(socket, "subscribe", id=1, masks=encoding, candidates=True)
            await message(socket, "done")
            await say(socket, "gaze", x_px=70, y_px=50)
            header, payload = await binary(socket, "result")
            x, y, width, height = header["mask"]["bbox"]
            if encoding == "bits":
                rows = np.frombuffer(payload, np.uint8).reshape(height, -1)
                part = np.unpackbits(rows, axis=1)[:, :width]
            else:
                grey = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_GRAYSCALE)
                part = np.asarray(grey, np.uint8) // 255
            plane = np.zeros(WH[::-1], np.uint8)
            plane[y : y + height, x : x + width] = part
            assert plane.sum() == header["mask"]["area"]
            near = [coco.decode(one["rle"]) for one in header["candidates"]]
            assert any(np.array_equal(plane, one) for one in near)

    run(test)


def test_frames_and_embeddings_for_who_wants_them(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            socket = await joined(service)
            await say(socket, "subscribe", id=1, results=False, frames=60, embeddings="float16")
            await message(socket, "done")
            service.show(100)
            service.show(130)
            await until(lambda: service.stream.report().frames == 3)
            service.show(160)
            frame, jpeg = await binary(socket, "frame")
            assert jpeg.startswith(b"\xff\xd8")
            assert frame["frame_wh"] == list(WH)
            service.show(190)
            service.show(220)
            embedding, payload = await binary(socket, "embedding")
            assert embedding["view"]["frame_wh"] == list(WH)
            about = embedding["tensors"]["embedding"]
            assert len(payload) >= about["offset"] + 2 * int(np.prod(about["shape"]))

    run(test)


def test_prompts_on_the_stream_and_on_a_frozen_frame(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            socket = await joined(service)
            await say(socket, "prompt", id="live", points=[[70, 50, 1]])
            answer = await message(socket, "answer")
            assert (answer["id"], answer["embedding"], len(answer["masks"])) == ("live", None, 3)
            await say(socket, "freeze", id=5)
            frozen = await message(socket, "frozen")
            header, jpeg = await binary(socket, "frame")
            assert header["embedding"] == frozen["embedding"]
            assert jpeg.startswith(b"\xff\xd8")
            await say(socket, "prompt", id=6, points=[[70, 50, 1], [5, 5, 0]], embedding=frozen["embedding"])
            answer = await message(socket, "answer")
            assert (answer["id"], len(answer["masks"])) == (6, 1)
            await say(socket, "prompt", id=7, points=[[1000, 50, 1]], embedding=frozen["embedding"])
            error = await message(socket, "error")
            assert (error["id"], error["code"]) == (7, "invalid")
            await say(socket, "ping", id=8)
            assert (await message(socket, "pong"))["t_ns"] > 0

    run(test)


def test_what_is_masked_can_be_followed(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            socket = await joined(service)
            await say(socket, "follow", id=1, object_id=9)
            assert (await message(socket, "error"))["id"] == 1
            await say(socket, "gaze", x_px=70, y_px=50)
            await message(socket, "result")
            await say(socket, "follow", id=2, object_id=9)
            assert (await message(socket, "done"))["of"] == "follow"
            await say(socket, "unfollow", id=3, object_id=9)
            assert (await message(socket, "done"))["of"] == "unfollow"

    run(test)


def test_one_client_is_the_gaze_until_it_leaves(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            first, second = await joined(service), await joined(service)
            await say(first, "gaze", x_px=70, y_px=50)
            await message(first, "result")
            await say(second, "gaze", x_px=20, y_px=20)
            assert (await message(second, "error"))["code"] == "gaze_taken"
            # It sees the masks all the same.
            await first.close()
            await until(lambda: service.context.clients == 1)
            await say(second, "gaze", x_px=20, y_px=20)
            await until(lambda: service.stream.report().gaze_samples == 2)

    run(test)


def test_a_tracker_is_not_pushed_aside(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, takes_gaze=False) as service:
            await service.ready()
            socket = await joined(service)
            await say(socket, "gaze", x_px=70, y_px=50)
            assert (await message(socket, "error"))["code"] == "gaze_taken"
            assert service.stream.report().gaze_samples == 0

    run(test)


def test_every_prompt_is_answered_also_those_too_many(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, max_waiting_of_client=3) as service:
            await service.ready()
            socket = await joined(service)
            for number in range(40):
                await say(socket, "prompt", id=number, points=[[70, 50, 1]])
            answered: set[int] = set()
            while len(answered) < 40:
                found = json.loads((await socket.receive(PATIENCE_S)).data)
                if found["type"] in ("answer", "error"):
                    assert found["type"] == "answer" or found["code"] == "busy"
                    answered.add(found["id"])
            assert answered == set(range(40))

    run(test)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = """id points box multimask embedding t_ns x_px y_px x_norm y_norm confidence object_id masks frames
embeddings results candidates v"""
FIELDS = st.sampled_from(NAMES.split())
KINDS = st.sampled_from(["subscribe", "gaze", "prompt", "freeze", "follow", "unfollow", "ping", "?"])
MESSAGES = st.one_of(
    st.builds(
        lambda kind, fields: json.dumps({**fields, "type": kind}),
        KINDS,
        st.dictionaries(FIELDS, ANYTHING, max_size=4),
    ),
    st.text(max_size=200),
    st.binary(max_size=200),
    st.just("[" * 20_000),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MESSAGES, min_size=1, max_size=20))
def test_nothing_that_is_sent_breaks_it(segmenter: Segmenter, sent: list[str | bytes]) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            await service.ready()
            socket = await joined(service)
            for one in sent:
                if isinstance(one, bytes):
                    await socket.send_bytes(one)
                else:
                    await socket.send_str(one)
            await say(socket, "ping", id="still here")
            while (await message(socket, "pong"))["id"] != "still here":
                pass
            assert service.context.outcomes["failed"] == 0
            assert service.stream.report().errors == {}

    run(test)
