"""From the stream to everybody who looks.

    stream ─▶ ThreadedSink ─▶ Hub.write: messages are made once ─▶ event loop ─▶ one Outbox a client

Making messages happens on the sink's thread: it delays neither the next mask nor the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from sam_edge.embedding import Embedding
from sam_edge.service.live.outbox import Outbox, Wants
from sam_edge.service.live.wire import Message, ResultMessages, Tensors, embedding_message, frame_message
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.sink import Sink
from sam_edge.streaming.sources.source import Frame

Send = tuple[str, Message]
MAX_ON_THE_WAY = 8
EARLY = 0.9
"""A frame that comes so much of the interval after the last is in time: cameras are not exact."""


@dataclass(eq=False)
class Viewer:
    """One who looks."""

    outbox: Outbox
    wants: Wants = field(default_factory=Wants)
    frame_s: float = 0.0
    """When the last frame was left for it."""
    frame: Frame | None = None
    """That frame."""
    embedding: Embedding | None = None
    """The last one that was left for it."""


class Hub:
    """A sink of the stream that hands everything on to those who look.

    Args:
        loop: where the viewers live.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._newest: Callable[[], Embedding | None] = lambda: None
        self._lock = Lock()
        self._viewers: tuple[Viewer, ...] = ()
        self._messages = ResultMessages()
        self._picture_of: tuple[Frame, bytes] | None = None
        self._on_the_way = 0

    @contextmanager
    def open(self, name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[Sink]:
        """As `OpenSink` describes it."""
        yield self

    def begin(self, newest: Callable[[], Embedding | None]) -> None:
        """From now on, `newest` gives the stream's newest embedding."""
        self._newest = newest

    def viewers(self) -> tuple[Viewer, ...]:
        """Everybody who looks now."""
        return self._viewers

    def end(self) -> None:
        """Nobody looks any more."""
        for viewer in self._viewers:
            viewer.outbox.close()

    @contextmanager
    def joined(self, viewer: Viewer) -> Iterator[None]:
        """Give a viewer everything it wants until the block ends."""
        with self._lock:
            self._viewers = (*self._viewers, viewer)
        try:
            yield
        finally:
            with self._lock:
                self._viewers = tuple(one for one in self._viewers if one is not viewer)

    def write(self, frame_result: FrameResult) -> None:
        """Take a part of a frame; see `Sink.write`."""
        viewers = self._viewers
        if not viewers:
            return
        sends: list[tuple[Viewer, list[Send]]] = []
        now_s, embedding = monotonic(), self._newest()
        made: dict[Tensors, bytes] = {}
        for viewer in viewers:
            found = [*self._frames(viewer, frame_result, now_s), *self._embeddings(viewer, embedding, made)]
            if viewer.wants.results:
                wants = viewer.wants
                found += [
                    ("result", self._messages(frame_result, result, wants.masks, wants.candidates))
                    for result in frame_result.results
                ]
            if found:
                sends.append((viewer, found))
        # A loop that is not at its work, or at its end, is left alone: nothing piles up for it.
        if sends and self._on_the_way < MAX_ON_THE_WAY and not self._loop.is_closed():
            self._on_the_way += 1
            self._loop.call_soon_threadsafe(self._leave, sends)

    def _frames(self, viewer: Viewer, frame_result: FrameResult, now_s: float) -> Iterable[Send]:
        fps = viewer.wants.frames
        if not fps or now_s - viewer.frame_s < EARLY / fps or viewer.frame is frame_result.frame:
            return
        viewer.frame_s, viewer.frame = now_s, frame_result.frame
        yield "frame", self._picture(frame_result.frame)

    def _embeddings(
        self, viewer: Viewer, embedding: Embedding | None, made: dict[Tensors, bytes]
    ) -> Iterable[Send]:
        dtype = viewer.wants.embeddings
        if dtype is None or embedding is None or viewer.embedding is embedding:
            return
        viewer.embedding = embedding
        if dtype not in made:
            made[dtype] = embedding_message(embedding, dtype)
        yield "embedding", made[dtype]

    def _picture(self, frame: Frame) -> bytes:
        if self._picture_of is None or self._picture_of[0] is not frame:
            self._picture_of = frame, frame_message(frame)
        return self._picture_of[1]

    def _leave(self, sends: list[tuple[Viewer, list[Send]]]) -> None:
        """On the event loop."""
        self._on_the_way -= 1
        for viewer, found in sends:
            for kind, message in found:
                if kind == "result":
                    viewer.outbox.result(message)
                else:
                    viewer.outbox.newest(kind, message)
