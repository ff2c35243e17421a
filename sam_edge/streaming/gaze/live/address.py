"""Addresses of eye trackers."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from sam_edge.errors import InputError


def parse_address(name: str, form: str, *, default_port: int | None = None) -> tuple[str, int]:
    """The host and port of SCHEME://HOST[:PORT].

    Args:
        name: what the user gave.
        form: how it should look, for the hint.
        default_port: where none is given; None: one must be.

    Raises:
        InputError: it does not look so.
    """

    def wrong(what: str) -> InputError:
        return InputError(f"{name}: {what}", hint=f"give {form}")

    try:
        parts: SplitResult = urlsplit(name)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise wrong("the port is not a number up to 65535") from error
    if not name.startswith(f"{parts.scheme}://") or not host:
        raise wrong("there is no host")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise wrong("an address has a host and a port, and nothing else")
    if port is None:
        port = default_port
    if port is None:
        raise wrong("there is no port")
    return host, port
