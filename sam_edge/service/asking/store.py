"""Embeddings that clients asked for: a bounded number of them, each until nobody used it for a while."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from sam_edge.embedding import Embedding


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a frame."""

    embedding: Embedding
    jpeg: bytes | None = None
    """Its picture, where a client cannot have it otherwise."""


class Store:
    """Any thread may use it. A new embedding takes the place of the one that was not used for longest.

    Args:
        capacity: how many are kept.
        expires_s: how long after the last use.
        clock: seconds; a test may give its own.
    """

    def __init__(self, capacity: int, expires_s: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._capacity, self._expires_s, self._clock = capacity, expires_s, clock
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[float, Kept]] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            self._forget_old()
            return len(self._kept)

    def add(self, kept: Kept) -> str:
        """Keep it, and give it a name that nobody can guess."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._forget_old()
            while len(self._kept) >= self._capacity:
                self._kept.popitem(last=False)
            self._kept[name] = (self._clock(), kept)
        return name

    def get(self, name: str) -> Kept | None:
        """What has that name; None if nothing has, or no longer."""
        with self._lock:
            self._forget_old()
            found = self._kept.pop(name, None)
            if found is None:
                return None
            self._kept[name] = (self._clock(), found[1])
            return found[1]

    def remove(self, name: str) -> bool:
        """Forget it; whether there was such a one."""
        with self._lock:
            return self._kept.pop(name, None) is not None

    def _forget_old(self) -> None:
        # In the order of their last use.
        latest = self._clock() - self._expires_s
        while self._kept and next(iter(self._kept.values()))[0] <= latest:
            self._kept.popitem(last=False)
