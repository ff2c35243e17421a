"""A recording played in real time, as if a camera saw it now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event

from sam_edge.streaming.pace import Pace
from sam_edge.streaming.sources.source import Frame, FrameSource

MAX_SKIPPED_S = 0.5
"""After so long without a frame a late one is given out: a source that is too slow is late, not dark."""


class Paced:
    """The frames of a recording, each when its time comes. Those that nobody took in time are left out.

    Their `capture_ns` is when they came, on this machine's monotonic clock.
    """

    def __init__(
        self,
        source: FrameSource,
        pace: Pace,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        """Play a source.

        Args:
            source: closed with this one.
            pace: when its frames come; `PacedGaze` with the same one stays in step.
            clock: nanoseconds of this machine's monotonic clock.
            wait: waits so many seconds, or until the event is set.
        """
        info = source.info
        self.info = replace(
            info,
            fps=info.fps * pace.speed,
            start_ns=pace.due_ns(info.start_ns),
            unix_ns=None,
            live=True,
        )
        self.skipped_frames = 0
        """Frames whose successor was due before they could be given out."""
        self._source = source
        self._pace = pace
        self._clock = clock
        self._wait = wait
        self._closing = Event()

    @property
    def lost_frames(self) -> int:
        return self._source.lost_frames

    def __iter__(self) -> Iterator[Frame]:
        frame_ns = 1e9 / self.info.fps
        given_ns = self._clock()
        for frame in self._source:
            due_ns = self._pace.due_ns(frame.capture_ns)
            while (now_ns := self._clock()) < due_ns:
                if self._wait(self._closing, (due_ns - now_ns) / 1e9):
                    return
            if self._closing.is_set():
                return
            if now_ns - due_ns >= frame_ns and now_ns - given_ns < MAX_SKIPPED_S * 1e9:
                self.skipped_frames += 1
                continue
            given_ns = now_ns
            yield replace(frame, capture_ns=due_ns, receive_ns=now_ns, offset_ns=due_ns - frame.capture_ns)

    def close(self) -> None:
        """End the iteration at once, also while it waits."""
        self._closing.set()
        self._source.close()
