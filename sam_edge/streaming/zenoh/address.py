"""Addresses such as zenoh:robot/head?connect=tcp/10.0.0.5:7447."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from sam_edge.errors import InputError
from sam_edge.streaming.sources.options import split_options

Mode = Literal["peer", "client", "router"]
Clock = Literal["delay", "unix"]
"""How a sender's times become this machine's: by the smallest delay, or by Unix time, where something keeps the
clocks of both machines together (PTP, chrony)."""
MODES = ("peer", "client", "router")
LINK_OPTIONS = frozenset(("connect", "listen", "mode", "config"))
MAX_PREFIX = 200
MAX_ENDPOINTS = 8
ENDPOINT = re.compile(r"(tcp|udp|tls|quic|ws)/[\w.:\[\]%-]{1,255}")
# Zenoh gives *, $, ? and # a meaning of their own, and chunks with @ to its administration.
CHUNK = re.compile(r"[^\s*$?#/@][^\s*$?#/]*")


@dataclass(frozen=True)
class ZenohAddress:
    """Where the messages of a device are."""

    prefix: str
    """What its keys begin with, such as `robot/head`."""
    mode: Mode | None = None
    """`peer` talks to others itself, `client` through a router; None: as `config` says, else `peer`."""
    connect: tuple[str, ...] = ()
    """Endpoints to connect to, such as `tcp/10.0.0.5:7447`."""
    listen: tuple[str, ...] = ()
    """Endpoints of this machine to listen at."""
    config: str | None = None
    """A configuration file of Zenoh (JSON5), for TLS and access rules."""

    @property
    def is_explicit(self) -> bool:
        """Whether it says whom to talk to: then nobody else is looked for on the network."""
        return bool(self.connect or self.listen)

    def key(self, *parts: str) -> str:
        """A key of the device, such as `robot/head/gaze`."""
        return "/".join((self.prefix, *parts))


def parse_zenoh(name: str, more: Collection[str] = ()) -> tuple[ZenohAddress, Mapping[str, str]]:
    """The address in zenoh:PREFIX[?connect=...&listen=...&mode=...&config=...], and its other options.

    Args:
        name: what the user gave; several endpoints are separated by commas.
        more: other options that it may have.

    Raises:
        InputError: it does not look so.
    """
    base, options = split_options(name, LINK_OPTIONS | frozenset(more))
    prefix = base.partition(":")[2].strip("/")
    chunks = prefix.split("/")
    if len(prefix) > MAX_PREFIX or not all(CHUNK.fullmatch(chunk) for chunk in chunks):
        raise InputError(
            f"{name}: {prefix!r} is no prefix of keys",
            hint="give zenoh:PREFIX, words separated by /, without * $ ? # @, such as zenoh:robot/head",
        )
    mode = options.get("mode")
    if mode is not None and mode not in MODES:
        raise InputError(f"{name}: mode={mode} is none", hint=f"give one of {', '.join(MODES)}")
    connect, listen = (_endpoints(options.get(key), name) for key in ("connect", "listen"))
    if mode == "client" and not connect and "config" not in options:
        raise InputError(f"{name}: a client needs a router", hint="add connect=tcp/HOST:7447")
    address = ZenohAddress(prefix, cast("Mode | None", mode), connect, listen, options.get("config"))
    return address, {key: value for key, value in options.items() if key not in LINK_OPTIONS}


def read_clock(options: Mapping[str, str], name: str) -> Clock:
    """The option `clock`; `delay` where it is not given.

    Raises:
        InputError: it is another word.
    """
    clock = options.get("clock", "delay")
    if clock not in ("delay", "unix"):
        raise InputError(f"{name}: clock={clock} is none", hint="give delay or unix")
    return cast("Clock", clock)


def _endpoints(text: str | None, name: str) -> tuple[str, ...]:
    endpoints = tuple(text.split(",")) if text is not None else ()
    for endpoint in endpoints:
        if not ENDPOINT.fullmatch(endpoint):
            raise InputError(
                f"{name}: {endpoint!r} is no endpoint",
                hint="give PROTOCOL/HOST:PORT, such as tcp/10.0.0.5:7447",
            )
    if len(endpoints) > MAX_ENDPOINTS:
        raise InputError(
            f"{name}: {len(endpoints)} endpoints", hint=f"give {MAX_ENDPOINTS} at most, or a config"
        )
    return endpoints
