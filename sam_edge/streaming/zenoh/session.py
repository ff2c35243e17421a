"""Zenoh sessions: one for each address that this process uses, whoever needs it.

A session has threads, which a fork does not copy: a process that was forked opens its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from time import monotonic_ns
from typing import Any

from sam_edge.errors import InputError
from sam_edge.lazy import named_extras
from sam_edge.streaming.zenoh.address import ZenohAddress

ROUTER_TIMEOUT_MS = 3000
"""So long a client looks for its router."""
RETRY_MS = {"period_init_ms": 100, "period_max_ms": 2000, "period_increase_factor": 2}
"""A peer that is gone is looked for again, after pauses from the first to the second."""
MAX_MESSAGE = 1 << 24
"""Larger messages never enter the memory."""
MAX_WHY = 200
CLOSE_S = 2.0
"""A peer that is stopped holds closing up for ten seconds. So long the process may take to end; whoever closes
waits for less."""
_sessions: dict[object, tuple[Any, int]] = {}
"""By what makes them different: the session, and how many use it."""
_lock = Lock()
Receive = Callable[[bytes, bytes | None, int], None]
"""Takes the payload, the attachment, and when they arrived on this machine's monotonic clock."""


@contextmanager
def zenoh_session(address: ZenohAddress) -> Iterator[Any]:
    """A `zenoh.Session`, shared within the process.

    A peer opens whether others are there or not, and finds them again when they come back. A client needs its
    router to open, and finds it again later.

    Raises:
        InputError: an endpoint or the configuration cannot be used, or a client's router is not there.
        MissingExtraError: eclipse-zenoh is not installed.
    """
    key = (os.getpid(), address.mode, address.connect, address.listen, address.config)
    with _lock:
        session, users = _sessions.get(key) or (_open(address), 0)
        _sessions[key] = session, users + 1
    try:
        yield session
    finally:
        with _lock:
            session, users = _sessions.pop(key)
            if users > 1:
                _sessions[key] = session, users - 1
        if users == 1:
            _close(session)


@contextmanager
def subscribed(
    session: Any, key: str, receive: Receive, oversized: Callable[[], None], limit: int
) -> Iterator[None]:
    """Call `receive` with each message of a key, on Zenoh's thread: it must return at once and keep what is
    newest.

    Args:
        session: of `zenoh_session`.
        key: such as `robot/gaze`.
        receive: what takes messages.
        oversized: called instead for a message of more than `limit` bytes.
        limit: in bytes, of the payload and of the attachment.
    """
    import zenoh

    def take(sample: Any) -> None:
        now_ns = monotonic_ns()
        payload, attachment = sample.payload, sample.attachment
        if sample.kind != zenoh.SampleKind.PUT:
            return
        if len(payload) > limit or (attachment is not None and len(attachment) > limit):
            oversized()
            return
        receive(bytes(payload), None if attachment is None else bytes(attachment), now_ns)

    # Called at once: the queue of an indirect callback holds up the network when it is full.
    subscriber = session.declare_subscriber(key, zenoh.handlers.Callback(take, indirect=False))
    try:
        yield
    finally:
        # The session may be gone already.
        with suppress(zenoh.ZError):
            subscriber.undeclare()


def _open(address: ZenohAddress) -> Any:
    with named_extras("zenoh"):
        import zenoh
    try:
        config = zenoh.Config.from_file(address.config) if address.config else zenoh.Config()
        for key, value in _settings(address).items():
            config.insert_json5(key, json.dumps(value))
        return zenoh.open(config)
    except (zenoh.ZError, OSError) as error:
        # Zenoh's errors end in the place in its source.
        why = str(error).partition(" at /")[0][:MAX_WHY]
        hint = "check connect=, listen= and config="
        raise InputError(f"zenoh:{address.prefix}: {why}", path=address.config, hint=hint) from error


def _close(session: Any) -> None:
    """Close a session, without waiting for a peer that takes nothing any more."""

    def close() -> None:
        import zenoh

        with suppress(zenoh.ZError):
            session.close()

    # No daemon: a thread of Zenoh that Python ends with itself aborts the process.
    closing = Thread(target=close, name="zenoh close")
    closing.start()
    closing.join(CLOSE_S)


def _settings(address: ZenohAddress) -> dict[str, object]:
    settings: dict[str, object] = {"connect/retry": RETRY_MS}
    if address.mode or not address.config:
        settings["mode"] = mode = address.mode or "peer"
        is_client = mode == "client"
        settings["connect/timeout_ms"] = ROUTER_TIMEOUT_MS if is_client else -1
        settings["connect/exit_on_failure"] = is_client
    if address.is_explicit:
        settings |= {
            "connect/endpoints": address.connect,
            "listen/endpoints": address.listen,
            "scouting/multicast/enabled": False,
            "scouting/gossip/enabled": False,
        }
    if not address.config:
        settings |= {
            "transport/link/rx/max_message_size": MAX_MESSAGE,
            # No memory of others is mapped into this process.
            "transport/shared_memory/enabled": False,
        }
    return settings
