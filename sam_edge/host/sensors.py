"""What the kernel's sensors say now: temperature, power, energy. Files are read, nothing is set.

What a machine does not have, or this user may not read, is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sam_edge.host.cores import ROOT, read_text

PLAUSIBLE_C = (-40.0, 150.0)
"""Zones that are switched off report numbers far outside."""
INPUT_RAILS = ("VDD_IN", "5V_IN", "POM_5V_IN")
"""What Jetsons call the rail that feeds the whole board."""


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest thermal zone in degrees Celsius.

    Args:
        root: the folder that stands for `/`; tests emulate other machines below it.
    """
    zones = (_number(zone / "temp") for zone in (root / "sys/class/thermal").glob("thermal_zone*"))
    degrees = [zone / 1000 for zone in zones if zone is not None]
    return max((one for one in degrees if PLAUSIBLE_C[0] < one < PLAUSIBLE_C[1]), default=None)


def power_w(root: Path = ROOT) -> float | None:
    """What the whole board draws, in watts, where a monitor measures that: the INA3221 of Jetsons."""
    for label, millivolt, milliampere in _rails(root):
        if label in INPUT_RAILS:
            return millivolt * milliampere / 1e6
    return None


def energy_j(root: Path = ROOT) -> float | None:
    """Joules that the processor packages have used, counted from anywhere and starting over at times (RAPL)."""
    packages = (root / "sys/class/powercap").glob("intel-rapl:*")
    # intel-rapl:0:0 is a part of intel-rapl:0.
    used = [_number(one / "energy_uj") for one in packages if one.name.count(":") == 1]
    known = [one for one in used if one is not None]
    return sum(known) / 1e6 if known else None


def _rails(root: Path) -> Iterator[tuple[str, float, float]]:
    """Label, millivolts and milliamperes of each rail that an INA3221 measures."""
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for label in sorted(monitor.glob("in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = _number(monitor / f"in{number}_input"), _number(monitor / f"curr{number}_input")
            if volts is not None and amperes is not None:
                yield read_text(label), volts, amperes


def _number(path: Path) -> float | None:
    try:
        return float(read_text(path))
    except ValueError:
        return None
