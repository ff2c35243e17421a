"""Options in the query of an address: /dev/video0?size=1280x720&fps=30."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from sam_edge.errors import InputError

MAX_SIDE_PX = 16_384
MAX_FPS = 1000.0


def split_options(name: str, known: Collection[str]) -> tuple[str, Mapping[str, str]]:
    """What stands before the "?", and the options behind it.

    Raises:
        InputError: an option that is not `known`, given twice, or without a value.
    """
    base, _, query = name.partition("?")
    hint = f"options are {', '.join(sorted(known))}" if known else "it takes no options"
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise InputError(f"{name}: {query!r} is not KEY=VALUE", hint=hint) from error
    options = dict(pairs)
    for key, value in pairs:
        if key not in known or not value:
            raise InputError(f"{name}: {key!r} is no option" if value else f"{name}: {key} is empty", hint=hint)
    if len(options) < len(pairs):
        raise InputError(f"{name}: an option is given twice", hint=hint)
    return base, options


def read_fps(options: Mapping[str, str], name: str) -> float | None:
    """Frames per second, of the option `fps`; None where it is not given."""
    text = options.get("fps")
    if text is None:
        return None
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= MAX_FPS:
        raise InputError(f"{name}: fps={text} is no rate", hint=f"give a number over 0, up to {MAX_FPS:g}")
    return fps


def read_size(options: Mapping[str, str], name: str) -> tuple[int, int] | None:
    """Width and height in pixels, of the option `size`; None where it is not given."""
    text = options.get("size")
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (_is_side(width) and _is_side(height)):
        raise InputError(f"{name}: size={text} is no size", hint="give WIDTHxHEIGHT, such as 1280x720")
    return int(width), int(height)


def without_secret(address: str) -> str:
    """An address as errors and logs may show it: without user and password."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.partition(":")[0] + ":"
    host = parts.netloc.rpartition("@")[2]
    return address if host == parts.netloc else urlunsplit(parts._replace(netloc=host))


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) <= MAX_SIDE_PX
