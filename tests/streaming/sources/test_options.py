"""Options in the query of an address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.sources.options import read_fps, read_size, split_options, without_secret


@given(st.integers(1, 16_384), st.integers(1, 16_384), st.integers(1, 1000))
def test_options_are_read_as_they_were_written(width: int, height: int, fps: int) -> None:
    name = f"/dev/video0?size={width}x{height}&fps={fps}"
    base, options = split_options(name, ("size", "fps"))
    assert (base, read_size(options, name), read_fps(options, name)) == ("/dev/video0", (width, height), fps)


@given(st.text(max_size=40))
def test_any_query_is_understood_or_refused(query: str) -> None:
    try:
        _, options = split_options(f"0?{query}", ("size", "fps"))
        read_size(options, "0")
        read_fps(options, "0")
    except InputError:
        pass


@given(st.text(max_size=40))
def test_any_address_can_be_shown(address: str) -> None:
    without_secret(address)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_password_is_not_shown(scheme: str) -> None:
    assert without_secret(f"{scheme}://admin:p%40ss@camera:99/live?x=1") == f"{scheme}://camera:99/live?x=1"
