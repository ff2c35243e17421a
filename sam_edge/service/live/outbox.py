"""What waits for one client: the newest of everything, and never more."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from sam_edge.service.live.wire import MaskEncoding, Message, Tensors

MAX_REPLIES = 64
MAX_RESULTS = 8


@dataclass(frozen=True)
class Wants:
    """What a client subscribed to."""

    results: bool = True
    masks: MaskEncoding = "rle"
    candidates: bool = False
    frames: float = 0.0
    """A second; 0: none."""
    embeddings: Tensors | None = None


class FullError(Exception):
    """A client asks, and does not take its answers."""


class Outbox:
    """Belongs to the event loop. A reply waits until it is sent; results, frames and embeddings make room for
    newer ones."""

    def __init__(self) -> None:
        self.missed = 0
        """Results, frames and embeddings that made room."""
        self.is_closed = False
        self._came = asyncio.Event()
        self._replies: deque[Message] = deque()
        self._results: deque[Message] = deque(maxlen=MAX_RESULTS)
        self._newest: dict[str, Message] = {}

    def reply(self, message: Message) -> None:
        """Leave an answer.

        Raises:
            FullError: so many wait already that the client cannot be reading.
        """
        if len(self._replies) >= MAX_REPLIES:
            raise FullError
        self._replies.append(message)
        self._came.set()

    def result(self, message: Message) -> None:
        """Leave a result."""
        self.missed += len(self._results) == MAX_RESULTS
        self._results.append(message)
        self._came.set()

    def newest(self, kind: str, message: Message) -> None:
        """Leave a frame or an embedding in place of the one before."""
        self.missed += kind in self._newest
        self._newest[kind] = message
        self._came.set()

    def close(self) -> None:
        """Nothing is taken any more."""
        self.is_closed = True
        self._came.set()

    async def take(self) -> Message | None:
        """Wait for a message: answers first, then results, then the rest; None after `close`."""
        while not self.is_closed:
            if self._replies:
                return self._replies.popleft()
            if self._results:
                return self._results.popleft()
            if self._newest:
                return self._newest.pop(next(iter(self._newest)))
            self._came.clear()
            await self._came.wait()
        return None
