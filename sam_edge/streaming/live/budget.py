"""How often a device that gets hot, or that may draw so much power, encodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from sam_edge.host.cores import ROOT
from sam_edge.host.sensors import energy_j, power_w, temperature_c
from sam_edge.streaming.ranges import check_ranges

EVERY_S = 1.0
STEP = 0.7
"""By so much the rate falls at each check above a limit; it rises by the inverse of its square root below
it."""
SLOWEST_PER_S = 1.0
MARGIN = 0.95
"""The rate rises again below this share of the limit, so that it does not swing round the limit."""


@dataclass(frozen=True)
class BudgetConfig:
    """What may not be exceeded; None: no limit."""

    max_temperature_c: float | None = None
    """Of the hottest sensor."""
    max_power_w: float | None = None
    """Of the whole board, or of the processor where only that is measured."""

    def __post_init__(self) -> None:
        check_ranges(self, max_temperature_c=(1, 200), max_power_w=(0.01, 1e5))


@dataclass(frozen=True)
class Budget:
    """The rate that the limits allow now. Temperature and power change in seconds: check once a second."""

    limits: BudgetConfig
    full_per_s: float = 60.0
    """Encodes a second without limits."""
    encodes_per_s: float = 60.0
    """What is allowed now."""

    def after(self, temperature_c: float | None, power_w: float | None) -> Budget:
        """The budget after a reading; None is what the device does not tell."""
        readings = ((temperature_c, self.limits.max_temperature_c), (power_w, self.limits.max_power_w))
        load = max(
            (reading / limit for reading, limit in readings if reading is not None and limit is not None),
            default=0.0,
        )
        if load > 1:
            # The rate that is really reached may lie far below the full one: from there on, less is less.
            rate = max(SLOWEST_PER_S, min(self.encodes_per_s, 30.0) * STEP)
        elif load < MARGIN:
            rate = min(self.full_per_s, self.encodes_per_s / STEP**0.5)
        else:
            rate = self.encodes_per_s
        return replace(self, encodes_per_s=rate)


class Monitor:
    """Reads the sensors once a second and says how often the encoder may start.

    Args:
        limits: without one nothing is read.
        allow: told the encodes a second that are allowed, whenever that changes.
        root: the folder that stands for `/`.
        wait: waits so many seconds, or until the event is set.
    """

    def __init__(
        self,
        limits: BudgetConfig,
        allow: Callable[[float], None],
        *,
        root: Path = ROOT,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        self._budget, self._allow = Budget(limits), allow
        self._root, self._wait = root, wait
        self._closing = Event()
        self._energy: tuple[float, float] | None = None
        if limits != BudgetConfig():
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
