"""The node's line to the service: results come, gaze goes, and a lost line is opened again. Needs aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import aiohttp
from messages import ClockOffset, parse

PING_S = 1.0
AGAIN_S = 1.0
MESSAGE_BYTES = 64 << 20

OnResult = Callable[[dict[str, Any], bytes, int], None]


class Link:
    """Runs on an event loop of its own thread; `gaze` may be called from any.

    Args:
        url: of the service.
        token: of the service; None where it wants none.
        on_result: called with a result, its payload, and the nanoseconds from the service's clock to ROS's.
        now_ns: ROS's clock.
        note: told when the line is lost.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        on_result: OnResult,
        now_ns: Callable[[], int],
        note: Callable[[str], None],
    ) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._on_result = on_result
        self._now_ns = now_ns
        self._note = note
        self._clock = ClockOffset()
        self._asked: dict[int, int] = {}
        """Number of a ping -> when it went out."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gaze: dict[str, Any] | None = None
        self._wake = asyncio.Event()

    def gaze(self, x_px: float, y_px: float, at_ns: int | None = None) -> None:
        """Where to look, in pixels, and when on ROS's clock; the newest wins where the line is slow."""
        offset_ns = self._clock.ns
        fields: dict[str, Any] = {"x_px": x_px, "y_px": y_px}
        if at_ns is not None and offset_ns is not None:
            fields["t_ns"] = at_ns - offset_ns
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._put, fields)

    def _put(self, fields: dict[str, Any]) -> None:
        self._gaze = fields
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                await self._talk()
                self._note("the service ended")
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                self._note(f"no line to {self._url}: {error}")
            await asyncio.sleep(AGAIN_S)

    async def _talk(self) -> None:
        """One connection, from its beginning to its end."""
        self._clock = ClockOffset()
        async with AsyncExitStack() as opened:
            http = await opened.enter_async_context(aiohttp.ClientSession(self._url, headers=self._headers))
            socket = await opened.enter_async_context(http.ws_connect("/v1/stream", max_msg_size=MESSAGE_BYTES))
            subscribed = {"v": 1, "type": "subscribe", "id": 0, "results": True, "masks": "bits"}
            await socket.send_json(subscribed)
            tasks = [asyncio.create_task(self._ping(socket)), asyncio.create_task(self._point(socket))]
            try:
                async for message in socket:
                    if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                        self._take(message.data)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, data: bytes | str) -> None:
        try:
            told, payload = parse(data)
            if told.get("type") == "pong":
                self._clock.add(self._asked.pop(told["id"]), int(told["t_ns"]), self._now_ns())
            elif told.get("type") == "result" and self._clock.ns is not None:
                self._on_result(told, payload, self._clock.ns)
            elif told.get("type") == "error":
                self._note(f"the service: {told.get('what')}")
        except (ValueError, KeyError, TypeError) as error:
            self._note(f"a message that cannot be used: {error}")

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._asked.clear()
        for number in count(1):
            self._asked[number] = self._now_ns()
            await socket.send_json({"v": 1, "type": "ping", "id": number})
            await asyncio.sleep(PING_S)

    async def _point(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._gaze is not None:
                await socket.send_json({"v": 1, "type": "gaze", **self._gaze})
