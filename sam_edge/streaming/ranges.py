"""Settings that are out of their range are refused by name."""

from __future__ import annotations

from typing import Any

from sam_edge.errors import InputError


def check_ranges(config: Any, **ranges: tuple[float, float]) -> None:
    """Refuse a number of a configuration that lies outside its range, both ends included; None is no number.

    Args:
        config: a dataclass.
        ranges: name of a field -> (lowest, highest).

    Raises:
        InputError: naming the setting and its range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise InputError(
                f"{type(config).__name__}.{name} is {value:g}", hint=f"give a number from {low:g} to {high:g}"
            )
