"""Rules for values read from JSON: a type and a range each, put together to a description of a document.

A rule takes a value and where it stands, such as "graphs.encoder.file", and returns the value. Unknown entries
are left out of what a record returns, so that a later version may add some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Rule = Callable[[object, str], Any]
SHOWN = 40
"""Characters of a wrong value that a message shows."""


class RuleError(ValueError):
    """A value that breaks its rule; the text names the place and what is allowed there."""


def boolean(value: object, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _wrong(value, where, "true or false")
    return value


def integer(least: int, most: int) -> Rule:
    """A whole number, least and most included."""

    def check(value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _wrong(value, where, f"a whole number from {least} to {most}")
        return value

    return check


def number(least: float, most: float) -> Rule:
    """A finite number, least and most included, or a truth value, which counts as 0 or 1."""

    def check(value: object, where: str) -> float:
        # Compared, not converted: a whole number may have hundreds of digits. NaN is in no range.
        if not isinstance(value, (int, float)) or not least <= value <= most:
            raise _wrong(value, where, f"a number from {least:g} to {most:g}")
        return value

    return check


def text(pattern: str = ".+", *, most: int = 1000, what: str = "printable text") -> Rule:
    """Printable text of at most `most` characters that matches all of a pattern, which `what` describes."""
    compiled = re.compile(pattern)

    def check(value: object, where: str) -> str:
        if isinstance(value, str) and len(value) <= most and value.isprintable() and compiled.fullmatch(value):
            return value
        raise _wrong(value, where, what)

    return check


def choice(names: tuple[str, ...]) -> Rule:
    """One of some names."""

    def check(value: object, where: str) -> str:
        if not isinstance(value, str) or value not in names:
            raise _wrong(value, where, f"one of {', '.join(names)}")
        return value

    return check


def either(*rules: Rule) -> Rule:
    """What one of the rules takes; the last one says what is wrong."""

    def check(value: object, where: str) -> Any:
        for rule in rules[:-1]:
            try:
                return rule(value, where)
            except RuleError:
                continue
        return rules[-1](value, where)

    return check


def nothing(value: object, where: str) -> None:
    """Null."""
    if value is not None:
        raise _wrong(value, where, "null")


def sequence(rule: Rule, least: int, most: int) -> Rule:
    """An array of `least` to `most` items, as a tuple."""

    def check(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise _wrong(value, where, f"an array of {least} to {most} items")
        return tuple(rule(item, f"{where}[{index}]") for index, item in enumerate(value))

    return check


def mapping(key: Rule, rule: Rule, least: int = 0, most: int = 1000) -> Rule:
    """An object with any names, `least` to `most` of them."""

    def check(value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not least <= len(value) <= most:
            raise _wrong(value, where, f"an object of {least} to {most} entries")
        return {key(name, f"a name in {where}"): rule(item, f"{where}.{name}") for name, item in value.items()}

    return check


def record(rules: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    """An object with these names; those in `optional` may be missing."""
    known = {**rules, **(optional or {})}

    def check(value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(value, where, "an object")
        prefix = f"{where}." if where else ""
        for name in rules:
            if name not in value:
                raise RuleError(f"{prefix}{name} is missing")
        return {name: rule(value[name], f"{prefix}{name}") for name, rule in known.items() if name in value}

    return check


def _wrong(value: object, where: str, allowed: str) -> RuleError:
    if isinstance(value, (dict, list)):
        shown = f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    else:
        shown = ascii(value)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return RuleError(f"{where or 'the document'} is {shown}, not {allowed}")
