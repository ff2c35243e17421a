"""A real service on loopback, over a stream of a small model; tests of this folder call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.segmenter import Segmenter
from sam_edge.service.config import ServiceConfig
from sam_edge.service.context import Context
from sam_edge.service.server import Feed, listening
from sam_edge.streaming.live.stream import Stream

WH = (160, 120)
PATIENCE_S = 20.0
T = TypeVar("T")


@dataclass
class Running:
    """A service that answers, and a client of it."""

    context: Context
    stream: Stream
    url: str
    port: int
    http: aiohttp.ClientSession

    def show(self, shade: int = 90) -> None:
        """A frame of the camera."""
        self.stream.push_frame(picture(shade))

    async def ready(self) -> None:
        """Show a frame and wait until it is encoded."""
        self.show()
        await until(lambda: self.stream.scene.embedding is not None)


def picture(shade: int = 90) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 60, (WH[1], WH[0], 3), np.uint8)
    image[30:80, 40:110] = shade
    return image


def jpeg(wh: tuple[int, int] = WH) -> bytes:
    data: bytes = cv2.imencode(".jpg", np.zeros((wh[1], wh[0], 3), np.uint8))[1].tobytes()
    return data


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something on another thread."""

    async def look() -> None:
        while not is_so():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), PATIENCE_S)


@asynccontextmanager
async def serving(
    segmenter: Segmenter, *, token: str | None = None, takes_gaze: bool = True, **limits: Any
) -> AsyncIterator[Running]:
    """The service, with some limits of its own."""
    feed = Feed(asyncio.get_running_loop(), WH, 30.0)
    stream = Stream(segmenter, each=feed.each)
    stream.on_close(feed.close, last=True)
    context = Context.of(
        ServiceConfig(**{"port": 0, **limits}),
        stream,
        segmenter,
        feed.hub,
        feed.metrics,
        token=token,
        takes_gaze=takes_gaze,
        decoder=b"a graph",
    )
    try:
        async with listening(context) as (host, port):
            timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
            async with aiohttp.ClientSession(f"http://{host}:{port}", timeout=timeout) as http:
                yield Running(context, stream, f"http://{host}:{port}", port, http)
    finally:
        await asyncio.to_thread(stream.close)


def run(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """An asyncio test, which does not hang."""
    return asyncio.run(asyncio.wait_for(test(), 2 * PATIENCE_S))


async def message(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next text message of a type."""
    while True:
        found = await socket.receive(PATIENCE_S)
        assert found.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), found
        if found.type is aiohttp.WSMsgType.TEXT and found.json()["type"] == kind:
            answer: dict[str, Any] = found.json()
            return answer
