"""Cutting Motion JPEG into images."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.sources.live.multipart import MAX_PART_BYTES, MultipartParser, Part
from tests.streaming.sources.live.mjpeg_server import part


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def parse(chunks: list[bytes], boundary: str = "frame") -> list[bytes]:
    parser = MultipartParser(boundary)
    return [found.body for chunk in chunks for found in parser.feed(chunk)]


BODIES = st.lists(st.binary(min_size=1, max_size=60).filter(lambda body: b"--frame" not in body), max_size=6)
CUTS = st.lists(st.integers(0, 10**4), max_size=12)


@given(BODIES, CUTS)
def test_parts_with_lengths_come_whole_however_the_bytes_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    assert parse(pieces(b"".join(map(part, bodies)), cuts)) == bodies


@given(BODIES, CUTS)
def test_parts_without_lengths_end_at_the_next_boundary(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(part(body, length=0) for body in bodies) + b"--frame--\r\n"
    found = parse(pieces(stream, cuts))
    # Nobody can tell the line's end before a boundary from the picture's own last bytes.
    assert len(found) == len(bodies)
    assert all(one in (body, body + b"\r\n") for one, body in zip(found, bodies, strict=True))


def test_a_part_with_a_length_is_given_before_the_next_boundary() -> None:
    assert parse([part(b"image")[:-2]]) == [b"image"]


@given(st.integers(1, 10**9), CUTS)
def test_a_wrong_length_costs_no_other_part(length: int, cuts: list[int]) -> None:
    stream = part(b"first") + part(b"second", length=length) + part(b"third") + part(b"fourth")
    found = parse(pieces(stream, cuts))
    assert (found[0], found[2:]) == (b"first", [b"third", b"fourth"])


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([b"--frame", b"\r\n\r\n", part(b"x")]))), CUTS
)
def test_garbage_never_raises_and_the_next_good_part_comes(garbage: list[bytes], cuts: list[int]) -> None:
    parser = MultipartParser("frame")
    found: list[Part] = []
    # A boundary inside of headers costs the part after it: two good ones follow.
    for chunk in pieces(b"".join(garbage) + b"\r\n\r\n" + part(b"image") + part(b"image"), cuts):
        found += parser.feed(chunk)
    assert b"image" in [one.body for one in found]


@pytest.mark.parametrize("boundary", ["frame", "--frame", '"frame"', " frame "])
def test_cameras_write_their_boundary_in_many_ways(boundary: str) -> None:
    assert parse([part(b"image")], boundary) == [b"image"]


def test_headers_are_read() -> None:
    found = MultipartParser("frame").feed(part(b"image", headers="X-Timestamp: 12.5\r\n"))
    assert found[0].headers["x-timestamp"] == "12.5"


def test_memory_is_bounded() -> None:
    """A part without an end is thrown away, and the next one comes."""
    parser = MultipartParser("frame")
    endless = b"--frame\r\n\r\n"
    assert not parser.feed(endless)
    chunk = bytes(4_000_000)
    for _ in range(MAX_PART_BYTES // len(chunk) + 1):
        assert not parser.feed(chunk)
    assert parser.malformed == 1
    assert [one.body for one in parser.feed(b"\r\n" + part(b"image"))] == [b"image"]
