"""A mailbox that never grows: the newest item waits, older ones that nobody took are gone."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds one item. Any thread may put and take."""

    def __init__(self) -> None:
        self.replaced = 0
        """How many items were thrown away because a newer one came before they were taken."""
        self._item: T | None = None
        self._closed = False
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Leave an item in the place of the one that waits; after `close` it is thrown away."""
        with self._changed:
            if self._closed:
                return
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take it; None after `close`, or when `timeout_s` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wake everybody who waits. An item that still waits can be taken; no other one comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
