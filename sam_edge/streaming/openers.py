"""Finding what opens a name, in a table that a new kind extends by one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_edge.lazy import import_object


def find_opener(name: str, table: Mapping[str, str]) -> Any | None:
    """Import the opener of a name such as "clip.mp4", "scene:7" or "-"; None where the table has none.

    Args:
        name: a path or an address.
        table: key -> "module:opener". A key is the whole name ("-"), a scheme with its colon ("scene:"), a
            suffix with its dot, in lower case (".csv"), or "" for every other name, tried in this order.
    """
    scheme, colon, _ = name.partition(":")
    for key in (name, scheme + colon if colon else name, Path(name).suffix.lower(), ""):
        if key in table:
            return import_object(table[key])
    return None
