"""What all live eye trackers share: a thread that receives, a mailbox that never grows, and coming back.

A tracker's own file writes one function, `receive(link)`. It connects, hands over what it gets, and returns or
raises when the tracker is gone; then it is called again after a pause.
"""

from __future__ import annotations

import logging
import math
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Lock, Thread

from sam_edge.streaming.gaze.sample import GazeClock, GazeSample
from sam_edge.streaming.slot import Slot

UNREAD = 8
"""So many samples wait for whoever iterates; newer ones replace the oldest."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 8.0
"""Before connecting again; each pause is twice the one before."""
MAX_POSITION = 100.0
"""Gaze may leave the image, but not by so many images."""
MAX_TIME_NS = 1 << 62
_log = logging.getLogger(__name__)

Readable = int | socket.socket
Receive = Callable[["Link"], None]
"""Connects and hands samples to the link until it is closed. Returns, or raises OSError with a word for the
user, when the tracker is gone."""


class RejectedError(ValueError):
    """A message that is no sample; its text is the reason under which it is counted."""


class Link:
    """Between the thread that receives and the one that iterates."""

    def __init__(self) -> None:
        self.mailbox: Slot[GazeSample] = Slot(UNREAD)
        self.received = 0
        """How many samples came."""
        self._closed = Event()
        self._dropped: dict[str, int] = {}
        self._lock = Lock()
        self.woken, self._waker = socket.socketpair()
        """Readable once the link is closed: wait for it together with the tracker's own sockets."""

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def emit(self, sample: GazeSample) -> None:
        """Hand over a sample."""
        self.received += 1
        self.mailbox.put(sample)

    def drop(self, reason: str) -> None:
        """Count a message that is no sample."""
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + 1

    def offer(self, parse: Callable[[], GazeSample]) -> None:
        """Hand over what `parse` makes of a message, or count why it is no sample."""
        try:
            self.emit(parse())
        except RejectedError as error:
            self.drop(str(error))

    def wait(self, *readable: Readable, timeout_s: float) -> list[Readable]:
        """Those of the sockets or descriptors that can be read in time, or are broken; none after `close`."""
        poll = select.poll()
        for source in (*readable, self.woken):
            poll.register(source, select.POLLIN)
        ready = {number for number, _ in poll.poll(1e3 * timeout_s)}
        if self.closed:
            return []
        return [source for source in readable if _number(source) in ready]

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the link is closed."""
        self._closed.wait(seconds)

    def dropped(self) -> dict[str, int]:
        """Why -> how many; `unread`: newer samples came before anybody took it."""
        with self._lock:
            unread = {"unread": self.mailbox.replaced} if self.mailbox.replaced else {}
            return self._dropped | unread

    def close(self) -> None:
        self._closed.set()
        self.mailbox.close()
        self._waker.close()

    def release(self) -> None:
        """After `close`, when nobody waits any more."""
        self.woken.close()


class Tracker:
    """A `LiveGaze` whose thread runs `receive`, from the first iteration to `close`."""

    def __init__(self, name: str, receive: Receive, *, release: Callable[[], None] = lambda: None) -> None:
        """Connect nothing yet.

        Args:
            name: what errors and counters call it.
            receive: see `Receive`.
            release: gives back what was opened before; called once, after the last `receive`.
        """
        self.name = name
        self._receive = receive
        self._release = release
        self._link = Link()
        self._thread: Thread | None = None
        self._lock = Lock()
        self._closing = False

    @property
    def dropped(self) -> Mapping[str, int]:
        return self._link.dropped()

    def __iter__(self) -> Iterator[GazeSample]:
        with self._lock:
            if self._thread is None and not self._closing:
                self._thread = Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
        while not self._link.closed:
            sample = self._link.mailbox.take()
            if sample is not None and not self._link.closed:
                yield sample

    def close(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._link.close()
        if self._thread is None:
            self._give_back()
        else:
            # The thread gives back what it holds. A library that cannot be woken takes a moment.
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        pause_s, said = FIRST_PAUSE_S, False
        while not self._link.closed:
            before = self._link.received
            problem = self._try()
            if self._link.received > before:
                pause_s, said = FIRST_PAUSE_S, False
            if not said and not self._link.closed:
                _log.warning("%s: %s; trying again", self.name, problem)
                said = True
            self._link.pause(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
        self._give_back()

    def _try(self) -> str:
        """Receive until it ends; why it ended."""
        try:
            self._receive(self._link)
        except OSError as error:
            return error.strerror or str(error) or "no connection"
        except Exception as error:
            # Whatever a library or a message does, the stream goes on, and the tracker may come back.
            return f"{type(error).__name__}: {error}"
        return "the connection ended"

    def _give_back(self) -> None:
        self._release()
        self._link.release()


def _number(source: Readable) -> int:
    return source if isinstance(source, int) else source.fileno()


def checked_sample(
    t_ns: int, x: float, y: float, confidence: float,
    *, clock: GazeClock, receive_ns: int, offset_ns: int = 0,
) -> GazeSample:  # fmt: skip
    """A sample of numbers that came over the network.

    Raises:
        RejectedError: a number is not finite or out of range.
    """
    if not all(map(math.isfinite, (x, y, confidence))):
        raise RejectedError("not finite")
    if not (
        abs(x) <= MAX_POSITION and abs(y) <= MAX_POSITION and 0 <= confidence <= 1 and abs(t_ns) < MAX_TIME_NS
    ):
        raise RejectedError("out of range")
    return GazeSample(t_ns, x, y, confidence, clock, offset_ns, receive_ns)
