"""Every connection is counted and timed, before and between its requests too.

aiohttp waits for the head of a request for as long as somebody keeps the connection open, and for a client that
does not read. Here both end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class Connection:
    """One that is open."""

    transport: asyncio.Transport
    timer: asyncio.TimerHandle | None = None
    """Ends it, unless a request begins before."""
    stall: asyncio.TimerHandle | None = None
    """Looks whether a client that does not keep up takes anything."""
    unsent: int = 0
    """Bytes that waited for it then."""


class Connections:
    """All open connections. Belongs to the event loop.

    Args:
        capacity: a newer one takes the place of the one that is idle for longest; where none is, it is refused.
        head_timeout_s: the head of a request must be whole so long after the connection, or the answer before.
        stall_timeout_s: who takes nothing of what waits for so long is cut off.
    """

    def __init__(self, capacity: int, head_timeout_s: float, stall_timeout_s: float) -> None:
        self._capacity, self._head_s, self._stall_s = capacity, head_timeout_s, stall_timeout_s
        self._open: dict[asyncio.BaseTransport, Connection] = {}
        self.refused = self.timed_out = self.stalled = 0

    def __len__(self) -> int:
        return len(self._open)

    def guarded(self, make: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """A protocol of `make`, whose connection is counted and timed."""
        return _Guarded(make(), self)

    def add(self, transport: asyncio.Transport) -> bool:
        """A connection was made; whether it may stay."""
        if len(self._open) >= self._capacity:
            self.refused += 1
            idle = next((one for one in self._open.values() if one.timer is not None), None)
            if idle is None:
                return False
            self._end(idle)
        self._open[transport] = Connection(transport)
        self.request_ended(transport)
        return True

    def remove(self, transport: asyncio.BaseTransport) -> None:
        """A connection is lost."""
        connection = self._open.pop(transport, None)
        if connection is not None:
            _cancel(connection.timer)
            _cancel(connection.stall)

    def request_began(self, transport: asyncio.BaseTransport | None) -> None:
        """The head of a request is whole."""
        connection = self._open.get(transport) if transport is not None else None
        if connection is not None:
            _cancel(connection.timer)
            connection.timer = None

    def request_ended(self, transport: asyncio.BaseTransport | None) -> None:
        """It is answered: the connection is idle."""
        connection = self._open.pop(transport, None) if transport is not None else None
        if connection is None:
            return
        # The end of the line: the first one is idle for longest.
        self._open[connection.transport] = connection
        _cancel(connection.timer)
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(self._head_s, self._too_late, connection)

    def paused(self, transport: asyncio.BaseTransport) -> None:
        """A client does not keep up with what is sent."""
        connection = self._open.get(transport)
        if connection is not None:
            self._watch(connection)

    def resumed(self, transport: asyncio.BaseTransport) -> None:
        """It does again."""
        connection = self._open.get(transport)
        if connection is not None:
            _cancel(connection.stall)
            connection.stall = None

    def _watch(self, connection: Connection) -> None:
        connection.unsent = connection.transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        connection.stall = loop.call_later(self._stall_s, self._look, connection)

    def _look(self, connection: Connection) -> None:
        if connection.transport.get_write_buffer_size() < connection.unsent:
            self._watch(connection)
        else:
            self.stalled += 1
            self._end(connection)

    def _too_late(self, connection: Connection) -> None:
        self.timed_out += 1
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        self.remove(connection.transport)
        connection.transport.abort()


class _Guarded(asyncio.Protocol):
    """Stands before the protocol of a connection."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner, self._connections = inner, connections
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "connections are of TCP"
        if not self._connections.add(transport):
            transport.abort()
            return
        self._transport = transport
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._connections.remove(self._transport)
            self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._connections.paused(self._transport)
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._connections.resumed(self._transport)
            self._inner.resume_writing()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
