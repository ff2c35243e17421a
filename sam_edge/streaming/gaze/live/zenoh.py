"""Gaze over Zenoh: `zenoh:PREFIX[?clock=unix&connect=...]`, messages of docs/zenoh.md at PREFIX/gaze."""

from __future__ import annotations

from functools import partial

from sam_edge.lazy import named_extras
from sam_edge.streaming.gaze.live.tracker import Link, Tracker
from sam_edge.streaming.zenoh.address import parse_zenoh, read_clock
from sam_edge.streaming.zenoh.messages import MAX_GAZE, parse_gaze, unix_offset_ns
from sam_edge.streaming.zenoh.session import subscribed, zenoh_session

WAIT_S = 60.0


def open_zenoh_gaze(name: str) -> Tracker:
    """Receive gaze, from whoever sends it.

    Raises:
        InputError: the address is wrong.
        MissingExtraError: eclipse-zenoh is not installed.
    """
    address, options = parse_zenoh(name, ("clock",))
    by_unix = read_clock(options, name) == "unix"
    with named_extras("zenoh"):
        import zenoh  # noqa: F401

    def receive(link: Link) -> None:
        def take(payload: bytes, _: bytes | None, receive_ns: int) -> None:
            offset_ns = unix_offset_ns() if by_unix else None
            link.offer(partial(parse_gaze, payload, receive_ns, offset_ns))

        def oversized() -> None:
            link.drop("malformed")

        with (
            zenoh_session(address) as session,
            subscribed(session, address.key("gaze"), take, oversized, MAX_GAZE),
        ):
            # The session finds its peers again by itself.
            while not link.closed:
                link.wait(timeout_s=WAIT_S)

    return Tracker(name, receive)
