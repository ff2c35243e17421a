"""Cameras over HTTP, on a server that speaks real multipart."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from itertools import repeat
from threading import Thread

import cv2
import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.sources.live.camera import CameraSource
from sam_edge.streaming.sources.live.mjpeg import READ_TIMEOUT_S, MjpegCamera
from sam_edge.streaming.sources.source import Frame, FrameSource, open_source
from tests.streaming.sources.live.mjpeg_server import CameraServer, part, running


def jpeg(grey: int, wh: tuple[int, int] = (64, 48)) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((wh[1], wh[0], 3), grey, np.uint8))[1])


def once(address: str) -> CameraSource:
    """One connection, without another one after it."""
    return CameraSource(MjpegCamera(address))


def test_images_come_in_order_with_times_of_this_machine() -> None:
    with running(CameraServer([part(jpeg(grey)) for grey in (10, 60, 110)])) as server:
        before_ns = time.monotonic_ns()
        source = once(server.address)
        frames = list(source)
        source.close()
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10, 60, 110]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert all(before_ns <= frame.capture_ns <= frame.receive_ns + 2 for frame in frames)
    assert source.info.frame_wh == (64, 48)


def test_grey_images_become_rgb_and_a_new_size_passes_through() -> None:
    grey = bytes(cv2.imencode(".jpg", np.full((20, 40), 90, np.uint8))[1])
    with running(CameraServer([part(jpeg(10)), part(grey), part(jpeg(20, (32, 16)))])) as server:
        source = once(server.address)
        assert [frame.image.shape for frame in source] == [(48, 64, 3), (20, 40, 3), (16, 32, 3)]
        source.close()


@pytest.mark.parametrize(
    "bad",
    [
        part(b"no image"),
        part(b""),
        part(jpeg(1)[:300]),
        part(jpeg(1)[:300], length=len(jpeg(1))),
        part(jpeg(1), length=100),
        b"--frame\r\n" * 3,
        b"\r\n--frame\r\nContent-Length: -4\r\n\r\n\xff\xd8\r\n",
    ],
)
def test_a_malformed_part_is_counted_and_the_next_image_comes(bad: bytes) -> None:
    with running(CameraServer([part(jpeg(10)), bad, part(jpeg(20)), part(jpeg(30))])) as server:
        source = once(server.address)
        greys = [int(frame.image[0, 0, 0]) for frame in source]
        source.close()
    assert (greys[0], greys[-1]) == (10, 30)
    assert source.lost_frames >= 1


def test_a_huge_declared_size_is_not_decoded() -> None:
    bomb = bytearray(jpeg(1))
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with running(CameraServer([part(jpeg(10)), part(bytes(bomb)), part(jpeg(20))])) as server:
        source = once(server.address)
        assert len(list(source)) == 2
        source.close()
    assert source.lost_frames == 1


def test_stamps_of_the_camera_give_the_times_between_frames() -> None:
    stamps = [f"X-Timestamp: {100 + step / 100:.6f}\r\n" for step in range(4)]
    with running(CameraServer([part(jpeg(10), headers=stamp) for stamp in stamps])) as server:
        source = once(server.address)
        frames = list(source)
        source.close()
    # They arrive together: the newest has the smallest delay, so those before it are older by their stamps.
    assert frames[-1].receive_ns - frames[-1].capture_ns < 10**7
    assert all(frame.offset_ns for frame in frames)


def test_user_and_password_are_sent_and_not_shown() -> None:
    with running(CameraServer([part(b"no image")])) as server:
        address = server.address.replace("//", "//admin:p%40ss@")
        with pytest.raises(InputError) as error:
            open_source(f"{address}/video?quality=3")
    assert server.asked[0] == ("/video?quality=3", "Basic YWRtaW46cEBzcw==")
    assert "admin" not in str(error.value)
    assert "p@ss" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "boundary", "says"),
    [
        (200, "", "text/html"),
        (404, "frame", "404"),
        (401, "frame", "password"),
        (302, "frame", "moved"),
        (200, "frame", "ends before"),
    ],
)
def test_an_answer_that_is_no_stream_is_explained(status: int, boundary: str, says: str) -> None:
    with (
        running(CameraServer([b"<html>"], status=status, boundary=boundary)) as server,
        pytest.raises(InputError, match=says),
    ):
        open_source(server.address)


def test_a_host_that_refuses_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(InputError, match=f"127.0.0.1:{port}"):
        open_source(f"http://127.0.0.1:{port}/")


def test_a_camera_that_never_sends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.streaming.sources.live.mjpeg.READ_TIMEOUT_S", 0.1)
    with running(CameraServer([], hold=True)) as server, pytest.raises(InputError, match="sent nothing"):
        open_source(server.address)


def test_a_camera_that_sends_bytes_but_no_picture_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.streaming.sources.live.mjpeg.READ_TIMEOUT_S", 0.1)
    with (
        running(CameraServer(repeat(b"--frame\r\n\r\nx"))) as server,
        pytest.raises(InputError, match="no picture"),
    ):
        open_source(server.address)


@pytest.mark.parametrize("opener", [open_source, once])
def test_close_wakes_who_waits_for_a_frame(opener: Callable[[str], FrameSource]) -> None:
    with running(CameraServer([part(jpeg(10))], hold=True)) as server:
        source = opener(server.address)
        frames = iter(source)
        next(frames)
        rest: list[Frame] = []
        reader = Thread(target=lambda: rest.extend(frames))
        reader.start()
        source.close()
        # Before the camera's silence would end it.
        reader.join(READ_TIMEOUT_S - 1)
        assert not reader.is_alive()
        assert not rest


def test_ffmpeg_as_the_sender() -> None:
    """FFmpeg's own multipart, of a test picture, through a listening socket of its own."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("needs ffmpeg (apt install ffmpeg)")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    command = [
        *(program, "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=50", "-t", "20"),
        *(
            "-f",
            "mpjpeg",
            "-content_type",
            "multipart/x-mixed-replace;boundary=ffmpeg",
            "-listen",
            "1",
            address,
        ),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as sender:
        try:
            source = _when_it_listens(address, sender)
            frames = [frame for frame, _ in zip(source, range(5), strict=False)]
            source.close()
        finally:
            sender.kill()
    assert all(frame.image.shape == (64, 96, 3) for frame in frames)
    assert frames[0].image.std() > 20


def _when_it_listens(address: str, sender: subprocess.Popen[bytes]) -> CameraSource:
    while True:
        assert sender.poll() is None
        try:
            return once(address)
        except InputError as error:
            if "cannot reach" not in str(error):
                raise
            time.sleep(0.02)
