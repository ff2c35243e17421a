"""Results for a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.sink import OpenSink, Sink


class CallbackSink:
    """Calls a function with each result and the frame it lies on."""

    def __init__(self, call: Callable[[FrameResult, Result], object]) -> None:
        self._call = call

    def write(self, frame_result: FrameResult) -> None:
        for result in frame_result.results:
            self._call(frame_result, result)


def callback_sink(call: Callable[[FrameResult, Result], object]) -> OpenSink:
    """An opener of a `CallbackSink`, such as `ThreadedSink(..., opener=...)` takes; its name means nothing."""

    @contextmanager
    def open_callback(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[Sink]:
        yield CallbackSink(call)

    return open_callback
