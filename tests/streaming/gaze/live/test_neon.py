"""The Companion app of Neon and Invisible: RTSP, RTP payloads of every length, RTCP, Time Echo."""

from __future__ import annotations

import json
import math
import socket
import struct
from contextlib import closing, suppress
from itertools import islice
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.gaze.live.neon import Decoder, Status, open_neon, parse_payload, parse_status
from sam_edge.streaming.gaze.live.rtsp import parse_sdp, read_answer
from sam_edge.streaming.gaze.live.tracker import RejectedError
from tests.streaming.gaze.live.companion import AHEAD_S, CLOCK_HZ, PAYLOAD_TYPE, Companion
from tests.streaming.gaze.live.test_rtp import sender_report

EYE = [3.5, 1.0, 2.0, 3.0, 0.1, 0.2, 0.9]
"""Diameter, centre and optical axis of an eye, as pl-realtime-api lays them out."""
LIDS = [0.5, -0.5, 9.0] * 2
PAYLOADS = {
    9: struct.pack("!ffB", 800, 300, 255),
    17: struct.pack("!ffBff", 790, 290, 255, 810, 310),
    25: struct.pack("!ffBffff", 800, 300, 255, 790, 290, 810, 310),
    65: struct.pack("!ffB14f", 800, 300, 255, *EYE, *EYE),
    89: struct.pack("!ffB20f", 800, 300, 255, *EYE, *EYE, *LIDS),
    105: struct.pack("!ffB24f", 800, 300, 255, *EYE, *EYE, *LIDS, 790, 290, 810, 310),
}


def test_payloads_of_every_length() -> None:
    app = Companion([*PAYLOADS.values(), struct.pack("!ffB", 400, 1500, 0)])
    with app.serve() as port, closing(open_neon(f"neon://127.0.0.1:{port}")) as tracker:
        samples = list(islice(tracker, 7))
    assert {len(payload): length for length, payload in PAYLOADS.items()} == {n: n for n in PAYLOADS}
    assert [(s.x_norm, s.y_norm, s.confidence) for s in samples] == [(0.5, 0.25, 1.0)] * 6 + [(0.25, 1.25, 0.0)]
    for number, sample in enumerate(samples):
        assert sample.clock == "host"
        # The phone's Unix time of each packet, by the sender report and the packet's ticks.
        unix_ns = app.unix_s * 1e9 + number * 1000 * 1e9 / CLOCK_HZ
        assert sample.t_ns - sample.offset_ns == pytest.approx(unix_ns, abs=1000)
        # The offset by the Time Echo, which counts whole milliseconds.
        assert sample.offset_ns == pytest.approx(-AHEAD_S * 1e9, abs=1e9)
        assert sample.receive_ns > 0


def test_pixels_of_invisible_and_an_app_without_echo() -> None:
    app = Companion([struct.pack("!ffB", 272, 540, 255)], version="1.1", echoes=False)
    with app.serve() as port, closing(open_neon(f"neon://127.0.0.1:{port}")) as tracker:
        sample = next(iter(tracker))
    assert (sample.x_norm, sample.y_norm) == (0.25, 0.5)
    assert (sample.clock, sample.offset_ns) == ("source", 0)
    assert sample.t_ns == pytest.approx(app.unix_s * 1e9, abs=1000)


def test_a_server_that_wants_the_control_address() -> None:
    app = Companion([PAYLOADS[9]], refuse_base=True)
    with app.serve() as port, closing(open_neon(f"neon://127.0.0.1:{port}")) as tracker:
        assert next(iter(tracker)).x_norm == 0.5
    assert app.methods[:5] == ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
    assert app.methods[-1] == "TEARDOWN"


def test_what_is_dropped_is_counted() -> None:
    odd = [b"", b"x" * 10, struct.pack("!ffB", math.nan, 1, 255), struct.pack("!ffB", 1e30, 1, 255), b"y" * 200]
    with (
        Companion([*odd, PAYLOADS[9]]).serve() as port,
        closing(open_neon(f"neon://127.0.0.1:{port}")) as tracker,
    ):
        assert next(iter(tracker)).x_norm == 0.5
        assert tracker.dropped == {"unknown length": 3, "not finite": 1, "out of range": 1}


def test_an_app_that_comes_later(caplog: pytest.LogCaptureFixture) -> None:
    """What answers first is no Companion app."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tracker = open_neon(f"neon://127.0.0.1:{port}")
        samples = iter(tracker)
        seen: list[float] = []
        reader = Thread(target=lambda: seen.append(next(samples).x_norm))
        reader.start()
        app = Companion([PAYLOADS[9]])
        with server.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        with app.serve() as other, server.accept()[0] as connection:
            connection.recv(4096)
            with socket.create_connection(("127.0.0.1", other)) as real:
                real.sendall(b"GET /api/status HTTP/1.1\r\n\r\n")
                while data := real.recv(4096):
                    connection.sendall(data)
            reader.join(20)
            tracker.close()
    assert seen == [0.5]
    assert "not the Companion app" in caplog.text


def test_packets_before_the_first_report_are_undated() -> None:
    decoder = Decoder((1600, 1200), PAYLOAD_TYPE, CLOCK_HZ)
    packet = struct.pack("!BBHII", 0x80, PAYLOAD_TYPE, 0, 0, 1) + PAYLOADS[9]
    with pytest.raises(RejectedError, match="undated"):
        decoder.sample(packet, 1)
    decoder.report(sender_report(1.5, 0))
    assert decoder.sample(packet, 1).t_ns == 1_500_000_000
    with pytest.raises(RejectedError):
        decoder.sample(packet[:1] + b"\x01" + packet[2:], 1)


STATUS = {
    "result": [
        {"model": "Phone", "data": {"time_echo_port": 12321}},
        {"model": "Hardware", "data": {"version": "2.0", "module_serial": "1"}},
        {
            "model": "Sensor",
            "data": {"sensor": "gaze", "port": 8086, "params": "camera=gaze", "connected": True},
        },
    ]
}


def test_status() -> None:
    assert parse_status(json.dumps(STATUS).encode()) == Status(8086, "?camera=gaze", 12321, (1600, 1200))


@pytest.mark.parametrize(
    "change",
    [{"port": 0}, {"port": "x"}, {"port": None}, {"connected": False}, {"params": "a b"}, {"params": "a\r\nb"}],
)
def test_status_without_gaze(change: dict[str, object]) -> None:
    changed = json.loads(json.dumps(STATUS))
    changed["result"][2]["data"] |= change
    with pytest.raises(ConnectionError):
        parse_status(json.dumps(changed).encode())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["result", "model", "data", "sensor", "port"]), inner, max_size=4)
    ),
)


@given(st.one_of(plain.map(lambda value: json.dumps(value).encode()), st.binary(max_size=50)))
def test_no_status_raises_anything_else(text: bytes) -> None:
    with suppress(ConnectionError):
        parse_status(text)


@given(st.binary(max_size=120))
def test_no_payload_raises_anything_else(payload: bytes) -> None:
    try:
        x, y, worn = parse_payload(payload)
    except RejectedError:
        assert len(payload) not in PAYLOADS
    else:
        assert {type(x), type(y), type(worn)} == {float, bool}


@given(
    st.one_of(st.binary(max_size=90), st.binary(max_size=90).map(lambda tail: b"RTSP/1.0 200 OK\r\n" + tail))
)
def test_no_answer_raises_anything_else(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            read_answer(ours)


def test_an_answer_without_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = Thread(target=lambda: theirs.sendall(b"x" * 70_000))
        sender.start()
        with pytest.raises(ConnectionError, match="too long"):
            read_answer(ours)
        ours.close()
        sender.join()


@given(st.text(max_size=80))
def test_no_description_raises_anything_else(text: str) -> None:
    for sdp in (text, f"m=application 0 RTP/AVP 99\r\na=rtpmap:{text}"):
        with suppress(ConnectionError):
            assert parse_sdp(sdp).clock_hz > 0
