"""Cameras on the network: rtsp://HOST/PATH."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from urllib.parse import urlsplit

import cv2

from sam_edge.errors import InputError
from sam_edge.streaming.sources.capture import Capture
from sam_edge.streaming.sources.live.camera import CameraSource
from sam_edge.streaming.sources.live.opencv import OpenCvCamera
from sam_edge.streaming.sources.live.reconnect import Reconnecting
from sam_edge.streaming.sources.options import without_secret

CONNECT_TIMEOUT_S = 3.0
OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 5_000
PORTS = {"rtsp": 554, "rtsps": 322}
VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
LOW_DELAY = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
"""OpenCV takes FFmpeg's options from the environment alone. TCP: lost packets of UDP are grey blocks."""
_environment = Lock()


def open_rtsp(name: str, *, rate_hz: float | None = None) -> Reconnecting:
    """The camera at `rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH`, connected again when it is lost.

    Raises:
        InputError: the host cannot be reached, or sends no video.
    """
    if rate_hz is not None:
        raise InputError(f"{without_secret(name)} has a rate of its own", hint="leave --rate out")
    host, port = host_and_port(name, PORTS)
    return Reconnecting(without_secret(name), lambda: CameraSource(_connect(name, host, port)))


def host_and_port(address: str, ports: dict[str, int]) -> tuple[str, int]:
    """Where an address leads; `ports` are those of each scheme where it names none.

    Raises:
        InputError: it names no host, or a wrong port.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or ports[parts.scheme]
    except ValueError as error:
        raise InputError(f"{without_secret(address)} is no address: {error}") from error
    if not host:
        raise InputError(f"{without_secret(address)} names no host", hint=f"give {parts.scheme}://HOST/PATH")
    return host, port


def check_reachable(name: str, host: str, port: int) -> None:
    """Raise InputError, with the reason, unless somebody listens there; FFmpeg tells no reasons."""
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise unreachable(name, host, port, error) from error


def unreachable(name: str, host: str, port: int, error: OSError) -> InputError:
    """Why nobody answers at an address."""
    why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return InputError(
        f"cannot reach {host}:{port} for {name} ({why})", hint="check the address and that the camera is on"
    )


def _connect(name: str, host: str, port: int) -> OpenCvCamera:
    shown = without_secret(name)
    check_reachable(shown, host, port)
    # One thread: FFmpeg's decoder holds a frame back for each further one.
    parameters = (
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS),
        *(cv2.CAP_PROP_N_THREADS, 1),
    )
    with _low_delay():
        capture = Capture(name, cv2.CAP_FFMPEG, parameters)
    if not capture.is_open:
        raise InputError(f"{shown} sends no video", hint="check the path, user and password")
    return OpenCvCamera(shown, capture)


@contextmanager
def _low_delay() -> Iterator[None]:
    """FFmpeg's options in the environment while a stream is opened; the user's own are left alone."""
    with _environment:
        own = os.environ.get(VARIABLE)
        os.environ.setdefault(VARIABLE, LOW_DELAY)
        try:
            yield
        finally:
            if own is None:
                del os.environ[VARIABLE]
