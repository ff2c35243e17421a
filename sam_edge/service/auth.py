"""Who may ask: the token, and where a request comes from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from sam_edge.errors import InputError

VARIABLE = "SAM_EDGE_TOKEN"
LEAST_TOKEN, MAX_TOKEN = 16, 1024
COOKIE = "sam_edge_session"
CHALLENGE = 'Basic realm="sam-edge", charset="UTF-8"'


def read_token(path: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token in a file, or else in the environment; None where there is none.

    Raises:
        InputError: the file cannot be read, or the token is too short to be one.
    """
    if path:
        try:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_TOKEN + 2)
        except OSError as error:
            raise InputError(f"cannot read the token in {path}: {error.strerror}", path=path) from error
        where = path
    elif VARIABLE in environment:
        raw, where = environment[VARIABLE].encode(), VARIABLE
    else:
        return None
    try:
        token = raw.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""  # nosec B105
    if not (LEAST_TOKEN <= len(token) <= MAX_TOKEN and token.isprintable() and " " not in token):
        raise InputError(
            f"the token in {where} is not {LEAST_TOKEN} to {MAX_TOKEN} printable characters in one word",
            hint="make one with: openssl rand -hex 32",
        )
    return token


@dataclass(frozen=True)
class Gate:
    """Looks at every request before anything else does."""

    token: str | None
    """None: whoever can connect may ask."""
    origins: Sequence[str] = ()
    """Of pages elsewhere that may ask."""

    def check(self, request: web.Request) -> None:
        """Raise the answer to a request that may not come in."""
        if self.token is not None and not self._is_known(request):
            # Only where a person went to an address: a browser would ask beside the page, for what the page
            # itself asks for.
            is_person = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": CHALLENGE} if is_person else None)
        if self.token is None and not _is_local(request.host):
            # A web site whose name points here would read everything through its visitor's browser.
            raise web.HTTPMisdirectedRequest()
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self.origins and _place(origin) != request.host.lower():
            raise web.HTTPForbidden()

    def cookie(self) -> str | None:
        """What the page's own requests show instead of the token, which it does not tell."""
        if self.token is None:
            return None
        return hmac.new(self.token.encode(), b"sam-edge page 1", hashlib.sha256).hexdigest()

    def _is_known(self, request: web.Request) -> bool:
        assert self.token is not None, "asked only where there is one"
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        shown = given.strip()
        if kind.lower() == "basic":
            shown = _password(shown)
        known = _same(shown, self.token) and kind.lower() in ("basic", "bearer")
        return known | _same(request.cookies.get(COOKIE, ""), self.cookie() or "")


def _same(given: str, wanted: str) -> bool:
    """In a time that says nothing about how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _password(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it has none, as `null`."""
    try:
        parts = urlsplit(origin)
        return parts.netloc.lower() if parts.scheme in ("http", "https") else None
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
