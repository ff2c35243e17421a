"""A live source that is opened again when it ends or fails."""

from __future__ import annotations

import atexit
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Event, Thread, current_thread

import cv2

from sam_edge.errors import InputError, SamEdgeError
from sam_edge.streaming.slot import Slot
from sam_edge.streaming.sources.live.camera import now_ns
from sam_edge.streaming.sources.source import Frame, FrameSource, SourceInfo

LOST = (SamEdgeError, OSError, cv2.error)
"""What a connection may end with. Anything else is a mistake in the program, and is raised."""
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
"""So long `close` waits for the device to be given back; a dead connection may take longer."""
KEPT_FAILURES = 16
MAX_WHY = 300


@dataclass(frozen=True)
class Failure:
    """One time that a source was lost, or could not be opened again."""

    at_ns: int
    """On this machine's monotonic clock."""
    why: str


@dataclass(frozen=True)
class Pauses:
    """How long to wait before a source is opened again: twice as long each time, up to a longest pause."""

    first_s: float = 0.25
    longest_s: float = 8.0

    def after(self, tries: int) -> float:
        """Seconds to wait when so many tries in a row, 1 or more, have failed."""
        # 2.0 ** 1024 is too large for a float.
        return min(self.longest_s, self.first_s * 2.0 ** min(tries - 1, 64))


class Reconnecting:
    """The frames of a live source, through all its failures.

    A thread of its own opens and reads the source, so that nobody who waits for a frame, and nobody who closes,
    hangs in a device or network. It keeps the newest frame only: older ones that nobody took are gone, and
    counted. Frames are numbered, and their times rise, through all connections.
    """

    def __init__(
        self,
        name: str,
        open_once: Callable[[], FrameSource],
        *,
        pauses: Pauses = Pauses(),
        open_timeout_s: float = OPEN_TIMEOUT_S,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        """Open the source for the first time.

        Args:
            name: what errors call it, without a password.
            open_once: opens a connection; called in another thread, again after each failure.
            pauses: between a failure and the next try.
            open_timeout_s: how long the first opening may take, in seconds.
            wait: waits so many seconds, or until the event is set.

        Raises:
            InputError: it cannot be opened.
        """
        self.reconnects = 0
        """How often it was opened again."""
        self._open_once = open_once
        self._pauses = pauses
        self._wait = wait
        self._slot: Slot[Frame] = Slot()
        self._failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)
        self._closing = Event()
        self._opened = Event()
        self._info: SourceInfo | None = None
        self._source: FrameSource | None = None
        self._error: BaseException | None = None
        self._lost_before = 0
        self._index = 0
        self._newest_ns = 0
        self._thread = Thread(target=self._run, name=f"frames of {name}", daemon=True)
        # Python aborts at its end if this thread is in OpenCV then.
        atexit.register(self.close)
        self._thread.start()
        try:
            in_time = self._opened.wait(open_timeout_s)
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if self._info is None:
            self.close()
            if self._error is not None:
                raise self._error
            what = "sent no picture" if not in_time else "was closed"
            raise InputError(f"{name} {what} within {open_timeout_s:g} s", hint="is the camera on and free?")
        self.info = self._info

    @property
    def lost_frames(self) -> int:
        """How many frames came and could not be decoded."""
        source = self._source
        return self._lost_before + (source.lost_frames if source else 0)

    @property
    def skipped_frames(self) -> int:
        """How many frames nobody took before a newer one came."""
        return self._slot.replaced

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last times that the source was lost or could not be opened again, the oldest first."""
        return tuple(self._failures)

    def __iter__(self) -> Iterator[Frame]:
        """The newest frame, each time one is asked for, until `close`."""
        while (frame := self._slot.take()) is not None and not self._closing.is_set():
            yield frame
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the iteration at once, also while it waits or the source is being opened."""
        self._closing.set()
        self._slot.close()
        source = self._source
        if source is not None:
            source.close()
        if current_thread() is not self._thread:
            self._thread.join(CLOSE_TIMEOUT_S)
        atexit.unregister(self.close)

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:
            self._error = error
        finally:
            self._slot.close()
            self._opened.set()

    def _follow(self) -> None:
        """Open, read and open again, until `close`."""
        tries = 0
        while not self._closing.is_set():
            started_s = time.monotonic()
            try:
                frames_before = self._index
                self._follow_once()
                why = "the stream ended"
            except LOST as error:
                if self._info is None:
                    raise
                why = error.what if isinstance(error, SamEdgeError) else str(error)
            if self._closing.is_set():
                return
            self._failures.append(Failure(now_ns(), why[:MAX_WHY]))
            # A camera that gives a frame and dies is not well yet.
            well = self._index > frames_before and time.monotonic() - started_s >= self._pauses.longest_s
            tries = 1 if well else tries + 1
            self._wait(self._closing, self._pauses.after(tries))

    def _follow_once(self) -> None:
        source = self._open_once()
        try:
            self._source = source
            # `close` may have come before it could see this source.
            if self._closing.is_set():
                return
            if self._info is None:
                self._info = replace(source.info, live=True)
                self._opened.set()
            else:
                self.reconnects += 1
            for frame in source:
                self._newest_ns = max(self._newest_ns + 1, frame.capture_ns)
                self._slot.put(replace(frame, index=self._index, capture_ns=self._newest_ns))
                self._index += 1
        finally:
            self._source = None
            self._lost_before += source.lost_frames
            source.close()
