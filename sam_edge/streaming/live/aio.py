"""A live stream in asyncio: one adapter, no second API."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from sam_edge.streaming.live.readers import WAITING_RESULTS
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import Result


class AsyncReader:
    """Takes results on the decoder's thread and wakes a task for them."""

    def __init__(self) -> None:
        self.replaced = 0
        self.is_closed = False
        self.waiting: deque[Result] = deque(maxlen=WAITING_RESULTS)
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()

    def put(self, result: Result) -> None:
        self.replaced += len(self.waiting) == self.waiting.maxlen
        self.waiting.append(result)
        self._wake()

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    async def wait(self) -> None:
        """Until something came, or the end."""
        await self._came.wait()
        self._came.clear()

    def _wake(self) -> None:
        # A task that has not run yet finds everything that came: one call is enough, so that none pile up.
        if not self._came.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.set)


async def as_async(stream: Stream) -> AsyncIterator[Result]:
    """The stream's results for `async for`, until the stream is closed.

    Cancelling the task ends the iteration and leaves the stream open. A slow reader misses the oldest results.
    """
    reader = AsyncReader()
    with stream.read_by(reader):
        while True:
            while reader.waiting:
                yield reader.waiting.popleft()
            if reader.is_closed and not reader.waiting:
                return
            await reader.wait()
