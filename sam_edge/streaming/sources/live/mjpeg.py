"""Cameras that send JPEG images over HTTP: http://HOST/PATH."""

from __future__ import annotations

import base64
import socket
from collections import deque
from contextlib import suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Event, Lock
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import decode_image
from sam_edge.streaming.sources.live.camera import CameraSource, Picture, now_ns
from sam_edge.streaming.sources.live.multipart import MultipartParser, Part
from sam_edge.streaming.sources.live.reconnect import Reconnecting
from sam_edge.streaming.sources.live.rtsp import CONNECT_TIMEOUT_S, host_and_port, unreachable
from sam_edge.streaming.sources.options import without_secret

PORTS = {"http": 80, "https": 443}
READ_TIMEOUT_S = 5.0
"""Also for a camera that sends bytes and never a picture."""
READ_BYTES = 65_536
END_OF_IMAGE = b"\xff\xd9"
"""The last marker of a JPEG; some cameras send padding behind it."""
PADDING = 1024
STAMP = "x-timestamp"
"""Seconds, in the headers that mjpg-streamer and ustreamer send with each image."""


class MjpegCamera:
    """One connection; see `Camera`."""

    on_host_clock = False
    fps = 0.0
    notes: tuple[str, ...] = ()

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            InputError: the host cannot be reached, or sends something else.
        """
        self.name = without_secret(address)
        self._undecoded = 0
        self._closing = Event()
        self._busy = Lock()
        self._parts: deque[tuple[Part, int]] = deque()
        self._connection = _connect(address, self.name)
        # The connection lets its socket go when the answer has no length.
        self._socket: socket.socket = self._connection.sock
        try:
            self._answer = _ask(self._connection, address, self.name)
        except BaseException:
            self._close_connection()
            raise
        try:
            _check(self._answer, address, self.name)
            self._parser = MultipartParser(_boundary(self._answer, self.name))
        except BaseException:
            self.close()
            raise

    @property
    def lost_frames(self) -> int:
        return self._undecoded + self._parser.malformed

    def read(self) -> Picture | None:
        try:
            with self._busy:
                return self._read()
        finally:
            if self._closing.is_set():
                self.close()

    def close(self) -> None:
        self._closing.set()
        # Wakes who reads; closing alone does not.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._busy.acquire(blocking=False):
            try:
                self._answer.close()
                self._close_connection()
            finally:
                self._busy.release()

    def _read(self) -> Picture | None:
        waited_from_ns = now_ns()
        while not self._closing.is_set():
            while self._parts:
                part, receive_ns = self._parts.popleft()
                image = self._decode(part.body)
                if image is not None:
                    return Picture(image, receive_ns, _stamp_ns(part))
            if now_ns() - waited_from_ns > READ_TIMEOUT_S * 1e9:
                raise InputError(f"{self.name} sent no picture for {READ_TIMEOUT_S:g} s")
            try:
                data = self._answer.read1(READ_BYTES)
            except (OSError, HTTPException, ValueError) as error:
                silent = isinstance(error, TimeoutError)
                why = f"sent nothing for {READ_TIMEOUT_S:g} s" if silent else "broke off"
                raise InputError(f"{self.name} {why}") from error
            if not data:
                break
            receive_ns = now_ns()
            self._parts.extend((part, receive_ns) for part in self._parser.feed(data))
        return None

    def _close_connection(self) -> None:
        self._connection.close()
        self._socket.close()

    def _decode(self, body: bytes) -> NDArray[np.uint8] | None:
        """The image; None for what is not one, or was cut off."""
        if END_OF_IMAGE in body[-PADDING:]:
            with suppress(InputError):
                return decode_image(body, f"a picture of {self.name}")
        self._undecoded += 1
        return None


def open_mjpeg(name: str, *, rate_hz: float | None = None) -> Reconnecting:
    """The camera at `http://[USER:PASSWORD@]HOST[:PORT]/PATH`, connected again when it is lost.

    Raises:
        InputError: the host cannot be reached, or sends no Motion JPEG.
    """
    if rate_hz is not None:
        raise InputError(f"{without_secret(name)} has a rate of its own", hint="leave --rate out")
    host_and_port(name, PORTS)
    return Reconnecting(without_secret(name), lambda: CameraSource(MjpegCamera(name)))


def _connect(address: str, name: str) -> HTTPConnection:
    host, port = host_and_port(address, PORTS)
    kind = HTTPSConnection if urlsplit(address).scheme == "https" else HTTPConnection
    connection = kind(host, port, timeout=CONNECT_TIMEOUT_S)
    try:
        connection.connect()
    except OSError as error:
        raise unreachable(name, host, port, error) from error
    connection.sock.settimeout(READ_TIMEOUT_S)
    return connection


def _ask(connection: HTTPConnection, address: str, name: str) -> HTTPResponse:
    parts = urlsplit(address)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "multipart/x-mixed-replace"}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse()
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(f"{name} gives no answer", hint="check that the address is a camera's") from error


def _check(answer: HTTPResponse, address: str, name: str) -> None:
    """Raise InputError unless the answer is what was asked for."""
    parts = urlsplit(address)
    if answer.status in (401, 403):
        raise InputError(
            f"{name} wants a user and a password", hint=f"give {parts.scheme}://USER:PASSWORD@HOST/"
        )
    if 300 <= answer.status < 400:
        raise InputError(
            f"{name} has moved", hint=f"give {without_secret(answer.getheader('Location') or 'its address')}"
        )
    if answer.status != 200:
        raise InputError(f"{name} answers {answer.status} {answer.reason}", hint="check the path")


def _boundary(answer: HTTPResponse, name: str) -> str:
    header = Message()
    header["Content-Type"] = answer.getheader("Content-Type") or ""
    boundary = header.get_boundary()
    if header.get_content_maintype() != "multipart" or not boundary:
        raise InputError(
            f"{name} sends {header.get_content_type()}, not JPEG images (multipart/x-mixed-replace)",
            hint="give the address of the camera's MJPEG stream, or download a file first",
        )
    return boundary


def _stamp_ns(part: Part) -> int | None:
    seconds, _, fraction = part.headers.get(STAMP, "").partition(".")
    if not (seconds + fraction).isascii() or not seconds.isdecimal() or len(seconds) > 12:
        return None
    if fraction and not fraction.isdecimal():
        return None
    return int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))
