"""Cameras on the network, on a real RTSP server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from threading import Thread, Timer

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.sources.live.reconnect import Reconnecting
from sam_edge.streaming.sources.source import Frame, open_source

PYTHON = "/usr/bin/python3"
PIPELINE = (
    "( videotestsrc is-live=true pattern=red ! video/x-raw,width=128,height=96,framerate=30/1 ! "
    "x264enc tune=zerolatency sliced-threads=false speed-preset=ultrafast key-int-max=5 ! "
    "rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    """An RTSP server, a process of its own; killed at the end."""
    if not Path(PYTHON).exists():
        pytest.skip("needs the system's Python, for GStreamer's RTSP server")
    command = [PYTHON, str(Path(__file__).with_name("rtsp_server.py")), str(port), PIPELINE]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        command, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            said = server.stdout.readline().strip()
            if not said.isdecimal():
                pytest.skip(
                    "needs GStreamer's RTSP server (apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
                    f"gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly): {said}"
                )
            yield Server(int(said), server)
        finally:
            server.kill()
            server.communicate()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as server:
        yield server.port


def test_frames_come_with_times_of_this_machine(port: int) -> None:
    before = dict(os.environ)
    source = open_source(f"rtsp://127.0.0.1:{port}/live")
    start_ns = time.monotonic_ns()
    frames = list(islice(source, 6))
    source.close()
    assert source.info.live
    assert source.info.frame_wh == (128, 96)
    red, green, blue = frames[-1].image[48, 64]
    assert red > 200
    assert max(green, blue) < 60
    assert all(early.capture_ns < late.capture_ns for early, late in pairwise(frames))
    assert all(frame.capture_ns <= frame.receive_ns + len(frames) for frame in frames)
    assert frames[-1].receive_ns > start_ns
    assert dict(os.environ) == before


def test_close_ends_the_iteration_from_another_thread(port: int) -> None:
    source = open_source(f"rtsp://127.0.0.1:{port}/live")
    frames: list[Frame] = []
    reader = Thread(target=lambda: frames.extend(source))
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()


def test_a_path_that_is_not_served_is_an_error_without_the_password(port: int) -> None:
    with pytest.raises(InputError) as error:
        open_source(f"rtsp://admin:secret@127.0.0.1:{port}/nothing")
    assert "/nothing" in str(error.value)
    assert "secret" not in str(error.value)


@contextmanager
def opened(address: str) -> Iterator[Reconnecting]:
    """A source that is closed at the end, or after a while: waiting for its frames ends then."""
    source = open_source(address)
    assert isinstance(source, Reconnecting)
    limit = Timer(30, source.close)
    limit.start()
    try:
        yield source
    finally:
        limit.cancel()
        source.close()


def test_a_server_that_is_killed_is_found_again() -> None:
    with serving() as server, opened(server.address) as source:
        frames = iter(source)
        first = next(frames)
        server.process.kill()
        server.process.wait()
        with serving(server.port):
            again = next(frame for frame in frames if source.reconnects)
    assert again.index > first.index
    assert again.capture_ns > first.capture_ns
    assert source.failures


def test_a_server_that_falls_silent_is_left_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.streaming.sources.live.rtsp.READ_TIMEOUT_MS", 1100)
    with serving() as server, opened(server.address) as source:
        frames = iter(source)
        next(frames)
        server.process.send_signal(signal.SIGSTOP)
        Thread(target=_wake_after_failure, args=(server, source)).start()
        next(frame for frame in frames if source.reconnects)
    assert "sent nothing" in source.failures[0].why


def _wake_after_failure(server: Server, source: Reconnecting) -> None:
    # Nobody tells when a failure is written down: looked for, as long as the source may be open.
    while not source.failures and server.process.poll() is None:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGCONT)


def test_a_host_that_refuses_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        number = unused.getsockname()[1]
    with pytest.raises(InputError, match=f"127.0.0.1:{number}"):
        open_source(f"rtsp://127.0.0.1:{number}/live")


def test_a_server_that_never_answers_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.streaming.sources.live.rtsp.OPEN_TIMEOUT_MS", 200)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        number = silent.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{number}"):
            open_source(f"rtsp://127.0.0.1:{number}/live")


@pytest.mark.parametrize(
    "address", ["rtsp:///live", "rtsp://host:port/live", "rtsp://host:99999/live", "rtsp:"]
)
def test_a_wrong_address_is_an_error(address: str) -> None:
    with pytest.raises(InputError):
        open_source(address)
