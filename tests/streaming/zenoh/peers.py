"""Sessions of one's own on loopback, where nobody is looked for."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Any

import pytest

WAIT_S = 20.0


def free_endpoint() -> str:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def peer(connect: str = "", listen: str = "", mode: str = "peer") -> Iterator[Any]:
    """A session of Zenoh, opened as its manual says and not by this package."""
    zenoh = pytest.importorskip("zenoh")
    settings = {
        "mode": mode,
        "connect": {"endpoints": [connect] if connect else [], "timeout_ms": -1, "exit_on_failure": False},
        "listen": {"endpoints": [listen] if listen else []},
        "scouting": {"multicast": {"enabled": False}, "gossip": {"enabled": False}},
    }
    with zenoh.open(zenoh.Config.from_json5(json.dumps(settings))) as session:
        yield session


class Heard:
    """Messages of a key, as JSON, and waiting for one."""

    def __init__(self, session: Any, key: str) -> None:
        zenoh = pytest.importorskip("zenoh")
        self._changed = Condition()
        self._messages: list[dict[str, Any]] = []
        self.samples: list[Any] = []
        self._subscriber = session.declare_subscriber(key, zenoh.handlers.Callback(self._take, indirect=False))

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool] = lambda _: True, within_s: float = WAIT_S
    ) -> dict[str, Any]:
        """The next message of a kind; it and those before it are not waited for again."""
        with self._changed:
            found = self._changed.wait_for(lambda: next(filter(wanted, self._messages), None), within_s)
            assert found is not None, f"nothing such came; the last was {self._messages[-1:]}"
            del self._messages[: self._messages.index(found) + 1]
            return found

    def forget(self) -> None:
        """Wait only for what comes from now on."""
        with self._changed:
            self._messages.clear()

    def newest(self) -> dict[str, Any]:
        """The newest message."""
        found: dict[str, Any] = json.loads(bytes(self.samples[-1].payload))
        return found

    def _take(self, sample: Any) -> None:
        with self._changed:
            self.samples.append(sample)
            is_json = str(sample.encoding) == "application/json"
            self._messages.append(json.loads(bytes(sample.payload)) if is_json else {})
            self._changed.notify_all()


def await_match(publisher: Any) -> None:
    """Wait until somebody has subscribed."""
    changed = Condition()

    def tell(_: Any) -> None:
        with changed:
            changed.notify_all()

    listener = publisher.declare_matching_listener(tell)
    with changed:
        assert changed.wait_for(lambda: publisher.matching_status.matching, WAIT_S)
    listener.undeclare()
