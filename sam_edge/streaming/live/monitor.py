"""Keeps a stream within its temperature and power budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from sam_edge.host.cores import ROOT
from sam_edge.host.sensors import energy_j, power_w, temperature_c
from sam_edge.streaming.live.budget import Budget

EVERY_S = 1.0


class Monitor:
    """Reads the sensors once a second and says how often the encoder may start.

    Args:
        budget: the limits; without one nothing is read.
        allow: told the encodes a second that are allowed, whenever that changes.
        root: the folder that stands for `/`.
        wait: waits so many seconds, or until the event is set.
    """

    def __init__(
        self,
        budget: Budget,
        allow: Callable[[float], None],
        *,
        root: Path = ROOT,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        self._budget, self._allow = budget, allow
        self._root, self._wait = root, wait
        self._closing = Event()
        self._energy: tuple[float, float] | None = None
        if budget.max_temperature_c is not None or budget.max_power_w is not None:
            Thread(target=self._watch, name="sam-edge budget", daemon=True).start()

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()

    def _watch(self) -> None:
        while not self._wait(self._closing, EVERY_S):
            before = self._budget.encodes_per_s
            self._budget = self._budget.after(temperature_c(self._root), self._power_w())
            if self._budget.encodes_per_s != before:
                self._allow(self._budget.encodes_per_s)

    def _power_w(self) -> float | None:
        measured = power_w(self._root)
        if measured is not None:
            return measured
        used, now_s, before = energy_j(self._root), monotonic(), self._energy
        self._energy = None if used is None else (used, now_s)
        # The counter starts over at times: that second is not known.
        if used is None or before is None or used < before[0] or now_s <= before[1]:
            return None
        return (used - before[0]) / (now_s - before[1])
