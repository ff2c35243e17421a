"""A mailbox that never grows: the newest items wait, older ones that nobody took are gone."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds one item, or a few. Any thread may put and take."""

    def __init__(self, capacity: int = 1) -> None:
        self.replaced = 0
        """How many items were thrown away because newer ones came before they were taken."""
        self._items: deque[T] = deque(maxlen=capacity)
        self._closed = False
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Leave an item; the oldest one makes room for it. After `close` it is thrown away."""
        with self._changed:
            if self._closed:
                return
            self.replaced += len(self._items) == self._items.maxlen
            self._items.append(item)
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take the oldest; None after `close`, or when `timeout_s` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        """Wake everybody who waits. Items that still wait can be taken; no other ones come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
