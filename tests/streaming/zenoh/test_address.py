"""Addresses of devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.zenoh.address import ZenohAddress, parse_zenoh, read_clock


def test_addresses() -> None:
    assert parse_zenoh("zenoh:robot/head") == (ZenohAddress("robot/head"), {})
    assert not parse_zenoh("zenoh:robot")[0].is_explicit
    address, more = parse_zenoh("zenoh://a?connect=tcp/10.0.0.5:7447,tcp/[::1]:7447&fps=5&mode=client", ["fps"])
    assert address == ZenohAddress("a", "client", ("tcp/10.0.0.5:7447", "tcp/[::1]:7447"))
    assert address.is_explicit
    assert more == {"fps": "5"}
    assert address.key("mask", "7") == "a/mask/7"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("zenoh:", "prefix"),
        ("zenoh:a//b", "prefix"),
        ("zenoh:a/**", "prefix"),
        ("zenoh:a/*/b", "prefix"),
        ("zenoh:@/router", "prefix"),
        ("zenoh:a b", "prefix"),
        ("zenoh:a?mode=boss", "mode"),
        ("zenoh:a?mode=client", "router"),
        ("zenoh:a?connect=10.0.0.5:7447", "endpoint"),
        ("zenoh:a?connect=tcp/h:1?x=y#z", "endpoint"),
        ("zenoh:a?listen=" + ",".join(["tcp/h:1"] * 9), "endpoints"),
        ("zenoh:a?router=x", "option"),
    ],
)
def test_addresses_that_are_none(name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_zenoh(name)


def test_clocks() -> None:
    assert read_clock({}, "zenoh:a") == "delay"
    assert read_clock({"clock": "unix"}, "zenoh:a") == "unix"
    with pytest.raises(InputError):
        read_clock({"clock": "utc"}, "zenoh:a")


@given(st.text(max_size=30))
def test_prefixes_that_are_taken_are_keys_of_zenoh(text: str) -> None:
    zenoh = pytest.importorskip("zenoh")
    try:
        address, _ = parse_zenoh(f"zenoh:{text}")
    except InputError:
        return
    key = zenoh.KeyExpr(address.key("gaze"))
    assert str(key) == address.key("gaze")
