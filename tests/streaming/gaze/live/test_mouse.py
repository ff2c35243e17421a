"""A mouse as the gaze, through a FIFO that speaks PS/2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.live.mouse import Packets, open_mouse
from sam_edge.streaming.gaze.sample import GazeSample


def packet(right: int, up: int, buttons: int = 0) -> bytes:
    head = 0x08 | buttons | (0x10 if right < 0 else 0) | (0x20 if up < 0 else 0)
    return bytes([head, right & 0xFF, up & 0xFF])


@pytest.fixture
def mouse(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A FIFO in the place of /dev/input/mice, and its other end."""
    path = tmp_path / "mice"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    yield f"mouse:{path}", writer
    os.close(writer)


def until(samples: Iterator[GazeSample], x: float, y: float) -> GazeSample:
    """The first sample at a point; those of the resting mouse before it are skipped."""
    return next(s for s in samples if abs(s.x_norm - x) < 1e-6 and abs(s.y_norm - y) < 1e-6)


def test_the_point_follows_and_stays_inside(mouse: tuple[str, int]) -> None:
    name, writer = mouse
    with closing(open_mouse(name)) as tracker:
        samples = iter(tracker)
        first = next(samples)
        assert (first.x_norm, first.y_norm, first.confidence, first.clock) == (0.5, 0.5, 1.0, "host")
        assert first.t_ns == first.receive_ns > 0
        os.write(writer, packet(128, 0) + packet(0, 72, buttons=1))
        until(samples, 0.6, 0.4)
        os.write(writer, packet(-256, 0) * 9 + packet(0, -256) * 9)
        until(samples, 0.0, 1.0)
        os.write(writer, packet(64, 36))
        until(samples, 0.05, 0.95)


def test_bytes_out_of_step_are_counted(mouse: tuple[str, int]) -> None:
    name, writer = mouse
    with closing(open_mouse(name)) as tracker:
        samples = iter(tracker)
        os.write(writer, b"\x00\x01" + packet(128, 0) + bytes([0x48, 255, 0]) + packet(0, 72))
        until(samples, 0.6, 0.4)
        assert tracker.dropped["malformed"] == 3


def test_a_mouse_that_is_unplugged_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "mice"
    os.mkfifo(path)
    with closing(open_mouse(f"mouse:{path}")) as tracker:
        samples = iter(tracker)
        next(samples)
        with path.open("wb", buffering=0) as writer:
            writer.write(packet(128, 0))
            until(samples, 0.6, 0.5)
        # The device is opened again: the point is in the middle once more.
        until(samples, 0.5, 0.5)
        with path.open("wb", buffering=0) as writer:
            writer.write(packet(-128, 0))
            until(samples, 0.4, 0.5)


@given(st.lists(st.tuples(st.integers(-256, 255), st.integers(-256, 255))), st.data())
def test_packets_are_found_however_they_are_cut(motions: list[tuple[int, int]], data: st.DataObject) -> None:
    whole = b"".join(packet(*motion) for motion in motions)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    packets = Packets()
    found: list[tuple[int, int] | None] = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += packets.feed(whole[begin:end])
    assert found == motions


@given(st.lists(st.binary(max_size=20)))
def test_nothing_that_comes_raises(chunks: list[bytes]) -> None:
    packets = Packets()
    for chunk in chunks:
        assert len(list(packets.feed(chunk))) <= len(chunk) + 2


def test_no_mouse(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no mouse"):
        open_mouse(f"mouse:{tmp_path}/mice")
