"""Finding what opens a name, in a table that a new kind extends by one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sam_edge.lazy import import_object


def find_opener(name: str, table: Mapping[str, str]) -> Any | None:
    """Import the opener of a name such as "clip.mp4", "scene:7" or "-"; None where the table has none.

    Args:
        name: a path or an address, which may end in a query ("frames?fps=10").
        table: key -> "module:opener". A key is the whole name ("-"), a scheme with its colon ("scene:"), "0"
            for every whole number, the beginning of a path ("/dev/video"), "/" for every folder, a suffix with
            its dot, in lower case (".csv"), or "" for every other name, tried in this order.
    """
    for key in _keys(name, table):
        if key in table:
            return import_object(table[key])
    return None


def _keys(name: str, table: Mapping[str, str]) -> Iterator[str]:
    yield name
    scheme, colon, _ = name.partition(":")
    if colon:
        yield scheme + colon
    bare = name.partition("?")[0]
    if bare.isdecimal():
        yield "0"
    yield from (key for key in table if len(key) > 1 and key[0] == "/" and bare.startswith(key))
    if "/" in table and (Path(name).is_dir() or Path(bare).is_dir()):
        yield "/"
    yield Path(name).suffix.lower()
    yield ""
