"""Telling systemd how the service goes: ready, alive, reloading, stopping.

    notifier = Notifier.from_environment()
    notifier.ready("serving on http://127.0.0.1:8080/")
    async with beating(notifier, lambda: not stream.is_closed): ...   # WATCHDOG=1, as long as it is well
    notifier.stopping()

Where nobody listens (no NOTIFY_SOCKET: started by hand, in a container) every call does nothing. What is sent
is the protocol of sd_notify(3): lines of NAME=VALUE in one datagram.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic_ns

BEATS = 3
"""So many times within the watchdog's limit; systemd's manual asks for two at least."""
MAX_STATUS = 200
RELOAD_S = 600.0


@dataclass(frozen=True)
class Notifier:
    """Where to tell it, and how often."""

    address: str | None = None
    """Path of a Unix socket, or "@NAME" in the abstract namespace; None: nobody listens."""
    watchdog_s: float | None = None
    """After so long a silence systemd kills the service and starts it again; None: it does not watch."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """What systemd says in NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; what makes no sense counts as not
        said."""
        address = environment.get("NOTIFY_SOCKET", "")
        watchdog_s = None
        # The variables reach child processes too, and are not meant for them.
        if environment.get("WATCHDOG_PID", "") in ("", str(os.getpid())):
            with suppress(ValueError):
                watchdog_s = int(environment.get("WATCHDOG_USEC", "")) / 1e6
        is_watched = watchdog_s is not None and watchdog_s > 0
        return cls(
            address if address[:1] in ("/", "@") and len(address) > 1 else None,
            watchdog_s if is_watched else None,
        )

    def ready(self, status: str = "") -> bool:
        """The service answers, or has read its configuration again; `status` is shown by `systemctl status`."""
        return self._send("READY=1", _status(status), self._limit(self.watchdog_s))

    def reloading(self) -> bool:
        """It reads its configuration again; `ready` must follow. Until then the watchdog waits longer, as at a
        start: engines may be compiled."""
        since = f"MONOTONIC_USEC={monotonic_ns() // 1000}"
        return self._send("RELOADING=1", since, self._limit(RELOAD_S))

    def stopping(self) -> bool:
        """It closes its outputs and ends."""
        return self._send("STOPPING=1", "")

    def status(self, status: str) -> bool:
        """One line for people."""
        return self._send(_status(status), "")

    def alive(self) -> bool:
        """It is well: the watchdog's time begins anew."""
        return self._send("WATCHDOG=1", "")

    def _limit(self, limit_s: float | None) -> str:
        """The watchdog's limit from now on, where it watches."""
        return f"WATCHDOG_USEC={round(1e6 * limit_s)}" if limit_s and self.watchdog_s else ""

    def _send(self, *lines: str) -> bool:
        """Whether it was sent. Never waits, and never fails: a service does not end because nobody listens."""
        text = "\n".join(filter(None, lines))
        if self.address is None or not text:
            return False
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(errors="replace"), address)
        except (OSError, ValueError):
            return False
        return True


@asynccontextmanager
async def beating(notifier: Notifier, is_well: Callable[[], bool]) -> AsyncIterator[None]:
    """Tell the watchdog in this block, from the event loop, that it turns and that the service is well.

    Args:
        notifier: where to.
        is_well: asked each time; False, or an exception, is a missed beat. The last beat that counted is
            `watchdog_s` old at most when systemd acts.
    """
    if notifier.watchdog_s is None:
        yield
        return
    task = asyncio.create_task(_beat(notifier, is_well, notifier.watchdog_s / BEATS))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat(notifier: Notifier, is_well: Callable[[], bool], every_s: float) -> None:
    while True:
        with suppress(Exception):
            if is_well():
                notifier.alive()
        await asyncio.sleep(every_s)


def _status(text: str) -> str:
    """As the line STATUS=; a line break would begin another variable."""
    words = " ".join(text.split())[:MAX_STATUS]
    return f"STATUS={words}" if words else ""
