"""How often a device that gets hot, or that may draw so much power, encodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

STEP = 0.7
"""By so much the rate falls at each check above a limit; it rises by the inverse of its square root below
it."""
SLOWEST_PER_S = 1.0
MARGIN = 0.95
"""The rate rises again below this share of the limit, so that it does not swing round the limit."""


@dataclass(frozen=True)
class Budget:
    """Limits, and the rate they allow now. Temperature and power change in seconds: check about once a
    second."""

    max_temperature_c: float | None = None
    max_power_w: float | None = None
    full_per_s: float = 60.0
    """Encodes a second without limits."""
    encodes_per_s: float = 60.0
    """What is allowed now."""

    def after(self, temperature_c: float | None, power_w: float | None) -> Budget:
        """The budget after a reading; None is what the device does not tell."""
        readings = ((temperature_c, self.max_temperature_c), (power_w, self.max_power_w))
        load = max(
            (reading / limit for reading, limit in readings if reading is not None and limit), default=0.0
        )
        if load > 1:
            # The rate that is really reached may lie far below the full one: from there on, less is less.
            rate = max(SLOWEST_PER_S, min(self.encodes_per_s, 30.0) * STEP)
        elif load < MARGIN:
            rate = min(self.full_per_s, self.encodes_per_s / STEP**0.5)
        else:
            rate = self.encodes_per_s
        return replace(self, encodes_per_s=rate)
