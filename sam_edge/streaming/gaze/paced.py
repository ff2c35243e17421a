"""Recorded gaze played in real time, as if an eye tracker sent it now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event

from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.pace import Pace


class PacedGaze:
    """The samples of a recording, each when its time comes, on this machine's monotonic clock; see `LiveGaze`.

    The iteration ends with the recording. Samples that are late come at once: none is left out.
    """

    def __init__(
        self,
        name: str,
        samples: Sequence[GazeSample],
        pace: Pace,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        """Play samples.

        Args:
            name: what errors and counters call it.
            samples: in the order of time, on the clock of the frames that are played with them.
            pace: when they come.
            clock: nanoseconds of this machine's monotonic clock.
            wait: waits so many seconds, or until the event is set.
        """
        self.name = name
        self.dropped: Mapping[str, int] = {}
        self._samples = samples
        self._pace = pace
        self._clock = clock
        self._wait = wait
        self._closing = Event()

    def __iter__(self) -> Iterator[GazeSample]:
        for sample in self._samples:
            due_ns = self._pace.due_ns(sample.t_ns)
            while (now_ns := self._clock()) < due_ns:
                if self._wait(self._closing, (due_ns - now_ns) / 1e9):
                    return
            if self._closing.is_set():
                return
            offset_ns = sample.offset_ns + due_ns - sample.t_ns
            yield replace(sample, t_ns=due_ns, clock="host", offset_ns=offset_ns, receive_ns=now_ns)

    def close(self) -> None:
        """End the iteration at once, also while it waits."""
        self._closing.set()
