"""Too little memory, in one line: how much was asked for, and how much there is."""

from __future__ import annotations

import re
from pathlib import Path

from sam_edge.errors import EngineError

ASKED_BYTES = re.compile(r"requested[a-z ]*\(?(\d+)", re.IGNORECASE)
"""How libraries put it: requested buffer of size 9, requested bytes of 9, Requested 9 bytes."""


def shortage(doing: str, text: str, free_mb: int | None, *, at_most: bool = False) -> EngineError:
    """The error for what a library said when memory was out.

    Args:
        doing: what ran out of which memory, such as "out of memory to run the graph".
        text: the library's own words, which may tell how many bytes it wanted.
        free_mb: None where nobody can say.
        at_most: whether other programs may have taken some of that.
    """
    asked = asked_bytes(text)
    wanted = "how much was asked for is not told" if asked is None else f"{_size(asked)} were asked for"
    had = f", {'at most ' if at_most else ''}{_size(free_mb << 20)} are free" if free_mb is not None else ""
    return EngineError(f"{doing}: {wanted}{had}", hint="close other programs, or take a smaller model or input")


def asked_bytes(text: str) -> int | None:
    """How many bytes a library wanted when memory was out, if its words tell."""
    asked = ASKED_BYTES.search(text)
    return int(asked[1]) if asked else None


def available_mb() -> int | None:
    """Host memory that can be had without swapping."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) // 1024 if found else None


def _size(count: int) -> str:
    """Bytes in a unit that suits them."""
    if count < 1 << 20:
        return f"{count / 1024:.1f} kB"
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count >> 20} MB"
