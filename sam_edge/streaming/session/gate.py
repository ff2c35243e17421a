"""Lets the threads of a pipeline go in the order of a journal, each with the times it read then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, current_thread

from sam_edge.streaming.session.journal import Turn, Who, who_runs

STUCK_S = 120.0
"""An engine that takes longer than this for one turn is taken for one that never ends."""


class Gate:
    """One turn is on at a time; who is not on waits before its next section, and before it reads the clock.

    Threads that are none of the pipeline's pass. After `open` all do, and what they compute is no replay any
    more.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.complaint = ""
        """Where the run went another way than the recorded one; empty where it did not."""
        self._changed = Condition()
        self._turn: Turn | None = None
        self._times: deque[int] = deque()
        self._last_ns = 0
        self._caller = current_thread()

    def play(self, turn: Turn, call: Callable[[], None]) -> bool:
        """Let a turn happen.

        Args:
            turn: the next one.
            call: makes it happen where it is none of a thread that waits for it already.

        Returns:
            Whether it happened as it was recorded.
        """
        with self._changed:
            self._turn, self._times = turn, deque(turn.times_ns)
            self._changed.notify_all()
        call()
        with self._changed:
            if not self._changed.wait_for(lambda: self._turn is None or self.is_open, STUCK_S):
                self._complain(f"{turn.who} did nothing")
            return not self.complaint

    def open(self) -> None:
        """Let everybody pass, now and always."""
        with self._changed:
            self.is_open = True
            self._changed.notify_all()

    def time_ns(self) -> int:
        """The clock: what this thread read in the recorded run."""
        who = self._who()
        with self._changed:
            if who is None:
                return self._last_ns
            self._wait(who)
            if not self.is_open and not self._times:
                self._complain(f"{who} read the clock once more")
            if self.is_open:
                return self._last_ns
            self._last_ns = self._times.popleft()
            return self._last_ns

    def enter(self) -> None:
        """A section is about to begin."""
        who = self._who()
        if who is not None:
            with self._changed:
                self._wait(who)

    def leave(self) -> None:
        """A section is over."""
        if self._who() is None:
            return
        with self._changed:
            if self.is_open:
                return
            if self._times:
                self._complain("the clock was not read as often")
            self._turn = None
            self._changed.notify_all()

    def _who(self) -> Who | None:
        thread = current_thread()
        return "call" if thread is self._caller else who_runs(thread.name)

    def _wait(self, who: Who) -> None:
        self._changed.wait_for(lambda: self.is_open or (self._turn is not None and self._turn.who == who))

    def _complain(self, complaint: str) -> None:
        self.complaint = self.complaint or complaint
        self.is_open = True
        self._changed.notify_all()
