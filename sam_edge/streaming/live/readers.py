"""Who reads the results of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Protocol
from weakref import finalize

from sam_edge.streaming.result import Result
from sam_edge.streaming.slot import Slot

WAITING_RESULTS = 8
"""So many results wait for a slow reader; then the oldest go."""


class Reader(Protocol):
    """Takes results on the decoder's thread, at once and without waiting; `Slot` is one."""

    replaced: int
    """How many results it threw away because nobody took them in time."""

    def put(self, result: Result, /) -> None: ...

    def close(self) -> None: ...


class Readers:
    """All readers of a stream. Any thread may call."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers: list[Reader] = []
        self._missed = 0
        self._is_closed = False

    def add(self, reader: Reader) -> None:
        """Give a reader every result from now on; after `close` it is closed at once."""
        with self._lock:
            self._readers.append(reader)
            is_closed = self._is_closed
        if is_closed:
            reader.close()

    def remove(self, reader: Reader) -> None:
        """Give it no more; one that is not there changes nothing."""
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)
                self._missed += reader.replaced

    def iterate(self) -> Iterator[Result]:
        """Results from now on, until `close`."""
        slot: Slot[Result] = Slot(WAITING_RESULTS)
        self.add(slot)
        results = self._taken_from(slot)
        # What nobody begins to read ends without its `finally`.
        finalize(results, self.remove, slot)
        return results

    def put(self, result: Result) -> None:
        """Give a result to all."""
        for reader in self._all():
            reader.put(result)

    def close(self) -> None:
        """End all iterations."""
        with self._lock:
            self._is_closed = True
        for reader in self._all():
            reader.close()

    @property
    def missed(self) -> int:
        """Results that slow readers missed."""
        with self._lock:
            return self._missed + sum(reader.replaced for reader in self._readers)

    def _all(self) -> tuple[Reader, ...]:
        with self._lock:
            return tuple(self._readers)

    def _taken_from(self, slot: Slot[Result]) -> Iterator[Result]:
        try:
            while (result := slot.take()) is not None:
                yield result
        finally:
            self.remove(slot)
