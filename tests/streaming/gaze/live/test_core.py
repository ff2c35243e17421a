"""Pupil Core's Network API, spoken by ZeroMQ sockets of this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.live.core import open_core, parse_gaze
from sam_edge.streaming.gaze.live.tracker import RejectedError

zmq = pytest.importorskip("zmq", reason="pyzmq is not installed")
msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")

AHEAD_S = 1234.5
"""How far Pupil's clock is ahead of this machine's."""
Message = tuple[bytes, bytes]


def gaze(timestamp: float, x: float = 0.25, y: float = 0.75, confidence: float = 0.9) -> Message:
    datum = {
        "topic": "gaze.3d.01.",
        "norm_pos": [x, y],
        "confidence": confidence,
        "timestamp": timestamp,
        "gaze_point_3d": [1.0, 2.0, 300.0],
        "eye_centers_3d": {0: [1.0, 2.0, 3.0], 1: [4.0, 5.0, 6.0]},
        "base_data": [{"id": 0, "norm_pos": [0.5, 0.5]}],
    }
    return b"gaze.3d.01.", msgpack.packb(datum)


@contextmanager
def capture(*messages: Message, port: int | None = None) -> Iterator[int]:
    """Pupil Capture: Pupil Remote answers, and whoever subscribes to gaze gets the messages."""
    with zmq.Context() as context, context.socket(zmq.REP) as remote, context.socket(zmq.XPUB) as gaze_out:
        for socket in (remote, gaze_out):
            socket.linger = 0
        here = port or remote.bind_to_random_port("tcp://127.0.0.1")
        if port:
            remote.bind(f"tcp://127.0.0.1:{port}")
        gaze_port = gaze_out.bind_to_random_port("tcp://127.0.0.1")
        with context.socket(zmq.PAIR) as stop, context.socket(zmq.PAIR) as stopped:
            stop.bind(f"inproc://stop{here}")
            stopped.connect(f"inproc://stop{here}")
            thread = Thread(target=_serve, args=(remote, gaze_out, stopped, gaze_port, messages))
            thread.start()
            try:
                yield here
            finally:
                stop.send(b"")
                thread.join()


def _serve(remote: Any, gaze_out: Any, stopped: Any, gaze_port: int, messages: tuple[Message, ...]) -> None:
    poller = zmq.Poller()
    for socket in (remote, gaze_out, stopped):
        poller.register(socket, zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if stopped in ready:
            return
        if remote in ready:
            question = remote.recv_string()
            now = repr(time.monotonic() + AHEAD_S)
            remote.send_string({"SUB_PORT": str(gaze_port), "t": now}.get(question, "Unknown command."))
        if gaze_out in ready and gaze_out.recv() == b"\x01gaze.":
            for message in messages:
                gaze_out.send_multipart(message)


def test_gaze_comes_on_our_clock_with_y_from_the_top() -> None:
    with (
        capture(gaze(5000.25), gaze(5000.255, y=1.25)) as port,
        closing(open_core(f"core://127.0.0.1:{port}")) as tracker,
    ):
        first, second = islice(tracker, 2)
    assert (first.x_norm, first.y_norm, first.confidence) == (0.25, 0.25, 0.9)
    assert second.y_norm == -0.25
    for sample, theirs_ns in ((first, 5_000_250_000_000), (second, 5_000_255_000_000)):
        assert sample.clock == "host"
        assert sample.t_ns - sample.offset_ns == theirs_ns
        assert sample.offset_ns == pytest.approx(-AHEAD_S * 1e9, abs=1e9)
        assert sample.receive_ns > 0


def test_what_is_dropped_is_counted() -> None:
    messages = (
        (b"gaze.2d.0.", b""),
        (b"gaze.2d.0.", b"\xc1"),
        (b"gaze.2d.0.", msgpack.packb({"norm_pos": [0.5, 0.5], "confidence": 1.0})),
        gaze(1.0, x=math.nan),
        gaze(1.0, confidence=3.0),
        gaze(2.0),
    )
    with capture(*messages) as port, closing(open_core(f"core://127.0.0.1:{port}")) as tracker:
        assert next(iter(tracker)).x_norm == 0.25
        assert tracker.dropped == {"malformed": 3, "not finite": 1, "out of range": 1}


def test_capture_that_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.streaming.gaze.live.core.TIMEOUT_MS", 200)
    with capture(gaze(1.0)) as port:
        tracker = open_core(f"core://127.0.0.1:{port}")
        samples = iter(tracker)
        assert next(samples).y_norm == 0.25
    with closing(tracker), capture(gaze(2.0, y=0.0), port=port):
        assert next(samples).y_norm == 1.0


def test_closing_while_nobody_answers() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as silent:
        port = silent.bind_to_random_port("tcp://127.0.0.1")
        tracker = open_core(f"core://127.0.0.1:{port}")
        seen: list[object] = []
        reader = Thread(target=lambda: seen.extend(tracker))
        reader.start()
        assert silent.recv_string() == "SUB_PORT"
        tracker.close()
        reader.join(20)
        assert not reader.is_alive()
        assert seen == []


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**63), 2**63)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["norm_pos", "timestamp", "confidence"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.one_of(st.binary(max_size=60), plain.map(msgpack.packb)), max_size=3))
def test_nothing_that_comes_raises(parts: list[bytes]) -> None:
    for message in (parts, [b"gaze.", *parts[:1]]):
        try:
            sample = parse_gaze(message, 5, 1, msgpack.unpackb)
        except RejectedError:
            continue
        assert math.isfinite(sample.x_norm + sample.y_norm)
