"""Frames of an MCAP recording: a session, or what the sink of the same suffix wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from sam_edge.errors import InputError
from sam_edge.streaming.session.images import to_frame
from sam_edge.streaming.session.reading import McapFile
from sam_edge.streaming.sources.source import Frame, SourceInfo

DEFAULT_FPS = 30.0


@dataclass
class _Seen:
    """What the first reading tells."""

    first: Frame | None = None
    last_ns: int = 0
    count: int = 0


class McapSource:
    """The frames whose images a recording holds, in the order of time, of the size of the first one. Others
    count as lost.

    Args:
        name: the file; it is read once to count its frames.

    Raises:
        InputError: it cannot be read, or holds no frames.
        MissingExtraError: mcap is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = McapFile(name)
        self._closing = Event()
        self.lost_frames = 0
        seen = _Seen()
        for content, image in self._stored():
            if seen.first is None:
                seen.first = self._frame(content, image)
                seen.last_ns = seen.first.capture_ns - 1
            capture_ns = content["capture_ns"]
            if isinstance(capture_ns, int) and capture_ns > seen.last_ns:
                seen.count, seen.last_ns = seen.count + 1, capture_ns
        first = seen.first
        if first is None:
            raise InputError(
                f"{name} holds no frames of sam-edge", path=name, hint="give a recording of this package"
            )
        span_s = (seen.last_ns - first.capture_ns) / 1e9
        self.info = SourceInfo(
            frame_wh=(first.image.shape[1], first.image.shape[0]),
            fps=(seen.count - 1) / span_s if span_s > 0 else DEFAULT_FPS,
            length=seen.count,
            start_ns=first.capture_ns,
            notes=(f"{name}: {self._file.damage}",) if self._file.damage else (),
        )

    def __iter__(self) -> Iterator[Frame]:
        self.lost_frames = index = 0
        last_ns = self.info.start_ns - 1
        for content, image in self._stored():
            if self._closing.is_set():
                return
            frame = self._frame(content, image)
            wh = frame.image.shape[1], frame.image.shape[0]
            if wh != self.info.frame_wh or frame.capture_ns <= last_ns:
                self.lost_frames += 1
                continue
            last_ns = frame.capture_ns
            yield replace(frame, index=index, receive_ns=0)
            index += 1

    def close(self) -> None:
        """End the iteration."""
        self._closing.set()

    def _stored(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """What is said of each frame, and its image."""
        image = b""
        for message in self._file.messages(("/camera", "/frames")):
            if message.topic == "/camera":
                image = message.content
            elif isinstance(message.content, dict) and message.content.get("stored"):
                yield message.content, image

    def _frame(self, content: dict[str, Any], image: bytes) -> Frame:
        try:
            return to_frame(content, image, self._name)
        except (TypeError, KeyError, OverflowError) as error:
            raise InputError(f"{self._name} says nothing sound of a frame", path=self._name) from error


def open_mcap(name: str, *, rate_hz: float | None = None) -> McapSource:
    """The recording `name`.

    Raises:
        InputError: no frames, or a rate for what has times.
    """
    if rate_hz is not None:
        raise InputError(f"{name} has times of its own", path=name, hint="leave --rate out")
    return McapSource(name)
