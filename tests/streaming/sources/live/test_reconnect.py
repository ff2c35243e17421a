"""Live sources that die and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.sources.live.reconnect import KEPT_FAILURES, Pauses, Reconnecting
from sam_edge.streaming.sources.source import Frame, SourceInfo
from tests.streaming.sources.live import mjpeg_server

AT_ONCE = Pauses(0.0, 0.0)


@dataclass
class Connection:
    """Gives frames, then ends, raises or waits for its end."""

    count: int = 3
    end: Exception | None = None
    hold: bool = False
    before: Callable[[], object] = lambda: None
    first_ns: int = 100
    wh: tuple[int, int] = (4, 2)
    lost_frames: int = 1
    closed: Event = field(default_factory=Event)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(self.wh, 30.0)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            self.before()
            yield Frame(np.zeros((self.wh[1], self.wh[0], 3), np.uint8), index, self.first_ns + index, 7)
        if self.end is not None:
            raise self.end
        if self.hold:
            self.closed.wait()

    def close(self) -> None:
        self.closed.set()


def opening(*connections: Connection | Exception) -> Callable[[], Connection]:
    """Opens one after the other; the last one again and again."""
    queue = list(connections)

    def open_once() -> Connection:
        following = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(following, Exception):
            raise following
        return following

    return open_once


@given(st.floats(0.01, 1), st.floats(1, 60), st.integers(1, 10**6))
def test_pauses_grow_to_the_longest_and_stay(first_s: float, longest_s: float, tries: int) -> None:
    pauses = Pauses(first_s, longest_s)
    assert pauses.after(1) == first_s
    assert pauses.after(tries) <= pauses.after(tries + 1) <= longest_s
    assert pauses.after(100) == longest_s


def test_each_failure_waits_longer_and_leaves_its_reason() -> None:
    waits: list[float] = []
    enough = Event()

    def wait(closing: Event, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 100:
            enough.set()
            return closing.wait()
        return closing.is_set()

    refused = InputError("cannot reach the camera (no answer)", hint="switch it on")
    source = Reconnecting("camera", opening(Connection(), refused), pauses=Pauses(0.25, 8.0), wait=wait)
    assert enough.wait(5)
    assert waits[:8] == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert len(source.failures) == KEPT_FAILURES
    assert {failure.why for failure in source.failures} == {refused.what}
    assert source.reconnects == 0
    source.close()


@pytest.mark.parametrize("end", [None, InputError("lost"), OSError("reset"), cv2.error("broken")])
def test_frames_go_on_through_all_connections(end: Exception | None) -> None:
    """Numbered, with times that rise, also where the new connection's are older."""
    taken = threading.Semaphore(0)
    connections = [Connection(2, end, before=taken.acquire, first_ns=ns) for ns in (1000, 400, 2000)]
    last = Connection(1, hold=True, before=taken.acquire, first_ns=5000, wh=(8, 6))
    source = Reconnecting("camera", opening(*connections, last), pauses=AT_ONCE)
    frames = []
    taken.release()
    for frame in source:
        frames.append(frame)
        if len(frames) == 7:
            break
        taken.release()
    assert [frame.index for frame in frames] == list(range(7))
    assert all(early.capture_ns < late.capture_ns for early, late in pairwise(frames))
    assert frames[-1].image.shape == (6, 8, 3)
    assert source.reconnects == 3
    assert source.lost_frames == 4
    assert all(connection.closed.is_set() for connection in connections)
    source.close()
    assert last.closed.is_set()


def test_only_the_newest_frame_waits() -> None:
    done = Event()
    source = Reconnecting(
        "camera", opening(Connection(50, InputError("x")), Connection(0, hold=True)), pauses=AT_ONCE
    )
    while source.reconnects == 0:
        done.wait(0.001)
    assert next(iter(source)).index == 49
    assert source.skipped_frames == 49
    source.close()


def test_the_first_opening_raises_what_went_wrong() -> None:
    with pytest.raises(InputError, match="no such camera"):
        Reconnecting("camera", opening(InputError("no such camera")))


def test_a_source_that_hangs_when_it_is_opened_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.streaming.sources.live.reconnect.CLOSE_TIMEOUT_S", 0.01)
    stuck = Event()

    def open_once() -> Connection:
        stuck.wait()
        return connection

    connection = Connection()
    with pytest.raises(InputError, match="camera 7"):
        Reconnecting("camera 7", open_once, open_timeout_s=0.05)
    stuck.set()
    # The device that came too late is given back.
    assert connection.closed.wait(5)


def test_a_mistake_in_the_program_is_raised_where_the_frames_are_taken() -> None:
    source = Reconnecting("camera", opening(Connection(1, ZeroDivisionError())), pauses=AT_ONCE)
    with pytest.raises(ZeroDivisionError):
        list(source)
    source.close()


@pytest.mark.parametrize("moment", ["reading", "pausing", "opening"])
def test_close_ends_the_iteration_at_once(moment: str) -> None:
    there, stuck = Event(), Event()
    opened: list[int] = []

    def open_once() -> Connection:
        opened.append(1)
        if len(opened) > 1:
            there.set()
            stuck.wait()
        return Connection(1, hold=moment == "reading")

    def wait(closing: Event, seconds: float) -> bool:
        if moment == "pausing":
            there.set()
            return closing.wait()
        return closing.is_set()

    source = Reconnecting("camera", open_once, wait=wait)
    ended = Event()

    def read() -> None:
        for _ in source:
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert moment == "reading" or there.wait(5)
    if moment == "opening":
        threading.Thread(target=source.close, daemon=True).start()
    else:
        source.close()
    assert ended.wait(5)
    stuck.set()
    source.close()


CLIENT = """
import os, sys, threading
from sam_edge.streaming.sources.live.camera import CameraSource
from sam_edge.streaming.sources.live.mjpeg import MjpegCamera
from sam_edge.streaming.sources.live.reconnect import Pauses, Reconnecting

def resident_kib():
    status = open("/proc/self/status").read()
    return int(status.partition("VmRSS:")[2].split()[0])

address = sys.argv[1]
source = Reconnecting(address, lambda: CameraSource(MjpegCamera(address)), pauses=Pauses(0.01, 0.02))
seen, frames = -1, 0
for frame in source:
    frames = frames + 1 if source.reconnects == seen else 0
    seen = source.reconnects
    if frames == 5:
        print(resident_kib(), len(os.listdir("/proc/self/fd")), threading.active_count(), flush=True)
        if seen == 10:
            break
print(len(source.failures), source.failures[-1].why, flush=True)
source.close()
"""


@pytest.mark.slow
def test_a_camera_that_dies_ten_times_costs_no_memory(tmp_path: Path) -> None:
    """A server of its own process, killed and started again; memory as the operating system counts it."""
    picture = tmp_path / "picture.jpg"
    # A frame takes 2.8 MB: one that is kept for each death would be seen.
    cv2.imwrite(
        str(picture),
        np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8).repeat(8, 0).repeat(8, 1),
    )
    server, port = _start_server(0, picture)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    use = []
    try:
        for death in range(11):
            use.append([int(text) for text in client.stdout.readline().split()])
            if death < 10:
                _kill(server)
                server, _ = _start_server(port, picture)
        last_words = client.stdout.readline()
        assert client.wait(10) == 0
    finally:
        _kill(server)
        client.kill()
        client.communicate()
    resident_kib, files, threads = zip(*use, strict=True)
    assert max(files) == files[0]
    assert max(threads) == threads[0]
    # Two or three frames (8 MB) are on their way at times. One kept for each death would be 17 MB, from the
    # first readings to the last.
    assert min(resident_kib[6:]) - min(resident_kib[:5]) < 12 * 1024, resident_kib
    assert last_words.strip()


def _start_server(port: int, picture: Path) -> tuple[subprocess.Popen[str], int]:
    server = subprocess.Popen(
        [sys.executable, "-S", mjpeg_server.__file__, str(port), str(picture)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    return server, int(server.stdout.readline())


def _kill(server: subprocess.Popen[str]) -> None:
    os.kill(server.pid, signal.SIGKILL)
    server.communicate()
