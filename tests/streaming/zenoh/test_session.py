"""Sessions: shared in a process, through routers, and refused in one line."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.slot import Slot
from sam_edge.streaming.zenoh.address import parse_zenoh
from sam_edge.streaming.zenoh.session import subscribed, zenoh_session
from tests.streaming.zenoh.peers import WAIT_S, await_match, free_endpoint, peer

zenoh = pytest.importorskip("zenoh")


def test_one_session_for_all_who_name_the_same_endpoints() -> None:
    address = parse_zenoh(f"zenoh:a?listen={free_endpoint()}")[0]
    with zenoh_session(address) as first:
        with zenoh_session(address) as second:
            assert first.zid() == second.zid()
        assert not first.is_closed()
    assert first.is_closed()
    # The port is free again.
    with zenoh_session(address) as third:
        assert third.zid() != first.zid()


def test_clients_meet_at_a_router() -> None:
    endpoint = free_endpoint()
    address = parse_zenoh(f"zenoh:a?mode=client&connect={endpoint}")[0]
    heard: Slot[bytes] = Slot()
    with ExitStack() as opened:
        opened.enter_context(peer(listen=endpoint, mode="router"))
        session = opened.enter_context(zenoh_session(address))
        other = opened.enter_context(peer(connect=endpoint, mode="client"))
        opened.enter_context(
            subscribed(session, "a/gaze", lambda payload, *_: heard.put(payload), lambda: None, 100)
        )
        publisher = other.declare_publisher("a/gaze")
        await_match(publisher)
        publisher.put(b"look")
        assert heard.take(WAIT_S) == b"look"


def test_what_is_too_large_is_told_apart() -> None:
    endpoint = free_endpoint()
    heard: Slot[bytes] = Slot(4)
    with (
        zenoh_session(parse_zenoh(f"zenoh:a?listen={endpoint}")[0]) as session,
        subscribed(
            session, "a/gaze", lambda payload, *_: heard.put(payload), lambda: heard.put(b"too large"), 9
        ),
        peer(connect=endpoint) as other,
    ):
        publisher = other.declare_publisher("a/gaze")
        await_match(publisher)
        publisher.put(b"x" * 10)
        publisher.put(b"x", attachment=b"y" * 10)
        publisher.delete()
        publisher.put(b"small", attachment=b"y")
        assert [heard.take(WAIT_S) for _ in range(3)] == [b"too large", b"too large", b"small"]


def test_endpoints_and_configurations_that_cannot_be_used(tmp_path: Path) -> None:
    taken = free_endpoint()
    config = tmp_path / "zenoh.json5"
    config.write_text("{mode: 'boss'}")
    with peer(listen=taken):
        for options in (f"listen={taken}", f"config={config}", f"config={tmp_path / 'none.json5'}"):
            with (
                pytest.raises(InputError, match="zenoh:a") as raised,
                zenoh_session(parse_zenoh(f"zenoh:a?{options}")[0]),
            ):
                pass
            assert "\n" not in str(raised.value)


def test_a_configuration_of_ones_own(tmp_path: Path) -> None:
    endpoint = free_endpoint()
    config = tmp_path / "zenoh.json5"
    config.write_text(f"{{listen: {{endpoints: ['{endpoint}']}}, scouting: {{multicast: {{enabled: false}}}}}}")
    heard: Slot[bytes] = Slot()
    with (
        zenoh_session(parse_zenoh(f"zenoh:a?config={config}")[0]) as session,
        subscribed(session, "a/gaze", lambda payload, *_: heard.put(payload), lambda: None, 100),
        peer(connect=endpoint) as other,
    ):
        publisher = other.declare_publisher("a/gaze")
        await_match(publisher)
        publisher.put(b"look")
        assert heard.take(WAIT_S) == b"look"
