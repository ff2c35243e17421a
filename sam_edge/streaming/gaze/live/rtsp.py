"""A client of RTSP 1.0 (RFC 2326) for one medium over UDP: what Neon streams its gaze with.

FFmpeg and OpenCV play pictures and sound, not data. aiortsp, the client of Pupil Labs' own library, keeps every
packet that was not taken; this one bounds every message.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from sam_edge.streaming.gaze.live.rtp import receiver_report

TIMEOUT_S = 3.0
MAX_ANSWER = 1 << 16
DEFAULT_SESSION_S = 60


@dataclass(frozen=True)
class Answer:
    headers: Mapping[str, str]
    """Names in lower case."""
    body: str


@dataclass(frozen=True)
class Medium:
    """What a session description (SDP, RFC 4566) says of its first medium."""

    control: str
    payload_type: int
    clock_hz: int


class RefusedError(ConnectionError):
    """The server does not do what it was asked."""


class RtspSession:
    """A medium that plays, from `open` to `close`: packets come to `rtp` and `rtcp`."""

    def __init__(self, host: str, url: str, connection: socket.socket) -> None:
        self.host = host
        self.url = url
        self.connection = connection
        self.rtp, self.rtcp = _udp_pair(connection)
        self.medium = Medium("", 0, 0)
        self._server_ports: tuple[int, int] | None = None
        self.keep_alive_s = DEFAULT_SESSION_S / 2
        self._session: str | None = None
        self._source = secrets.randbits(32)
        self._sequence = 0

    @classmethod
    def open(cls, host: str, port: int, path: str) -> RtspSession:
        """Play rtsp://host:port/path.

        Raises:
            OSError: there is nobody, or what they answer cannot be played.
        """
        connection = socket.create_connection((host, port), TIMEOUT_S)
        shown = f"[{host}]" if ":" in host else host
        session = cls(host, f"rtsp://{shown}:{port}/{path}", connection)
        try:
            session._play()
        except BaseException:
            session.close()
            raise
        return session

    def keep_alive(self) -> None:
        """Tell the server that somebody still listens, as servers want to hear; `drain` reads its answer."""
        self._send("OPTIONS", self.url)
        self._report()

    def drain(self) -> None:
        """Read what the server said; raises OSError when it hung up."""
        if not self.connection.recv(MAX_ANSWER):
            raise ConnectionError("the tracker ended the stream")

    def close(self) -> None:
        """Stop playing and give the sockets back."""
        with contextlib.suppress(OSError):
            if self._session:
                self._send("TEARDOWN", self.url)
        for each in (self.connection, self.rtp, self.rtcp):
            each.close()

    def _play(self) -> None:
        self._ask("OPTIONS", self.url)
        described = self._ask("DESCRIBE", self.url, {"Accept": "application/sdp"})
        self.medium = parse_sdp(described.body)
        self.url = described.headers.get("content-base", self.url)
        setup = self._setup()
        self._session, _, timeout = setup.headers.get("session", "").partition(";")
        if seconds := re.search(r"timeout=(\d{1,6})", timeout):
            self.keep_alive_s = max(1.0, int(seconds[1]) / 2)
        if theirs := re.search(r"server_port=(\d{1,5})-(\d{1,5})", setup.headers.get("transport", "")):
            self._server_ports = (int(theirs[1]), int(theirs[2]))
        # What goes out opens the way back through firewalls.
        self._report()
        self._ask("PLAY", self.url, {"Range": "npt=now-"})

    def _setup(self) -> Answer:
        ports = f"{self.rtp.getsockname()[1]}-{self.rtcp.getsockname()[1]}"
        headers = {"Transport": f"RTP/AVP;unicast;client_port={ports}"}
        try:
            # The Companion app takes its stream's own address, which is what Pupil Labs' library asks for.
            return self._ask("SETUP", self.url, headers)
        except RefusedError:
            if not self.medium.control:
                raise
            return self._ask("SETUP", _control_url(self.url, self.medium.control), headers)

    def _report(self) -> None:
        host = self.connection.getpeername()[0]
        for each, port in zip((self.rtp, self.rtcp), self._server_ports or (), strict=False):
            with contextlib.suppress(OSError):
                each.sendto(receiver_report(self._source), (host, port))

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        self._send(method, url, headers)
        return read_answer(self.connection)

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._sequence += 1
        mine = {"CSeq": str(self._sequence), "User-Agent": "sam-edge", **(headers or {})}
        if self._session:
            mine["Session"] = self._session
        lines = [f"{method} {url} RTSP/1.0", *(f"{name}: {text}" for name, text in mine.items()), "", ""]
        self.connection.sendall("\r\n".join(lines).encode("ascii", "replace"))


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer.

    Raises:
        OSError: it does not come whole, is too long, or says no.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection, len(data))
    head = data[:end].decode("utf-8", "replace").split("\r\n")
    headers = {
        name.strip().lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:])
    }
    status = re.match(r"RTSP/1\.\d (\d{3})", head[0])
    if status is None or status[1] != "200":
        raise RefusedError(f"the tracker answers {head[0][:60]!r}")
    length = headers.get("content-length", "0")
    body = data[end + 4 :]
    if not re.fullmatch(r"\d{1,5}", length):
        raise ConnectionError("the tracker's answer has no proper length")
    while len(body) < int(length):
        body += _more(connection, len(body))
    return Answer(headers, body[: int(length)].decode("utf-8", "replace"))


def parse_sdp(text: str) -> Medium:
    """The first medium of a session description that has a clock.

    Raises:
        ConnectionError: there is none.
    """
    for section in re.split(r"(?m)^m=", text)[1:]:
        rate = re.search(r"(?m)^a=rtpmap:(\d{1,3}) [^/\r\n]+/(\d{1,9})", section)
        control = re.search(r"(?m)^a=control:(\S+)", section)
        if rate and int(rate[2]) > 0:
            return Medium(control[1] if control else "", int(rate[1]), int(rate[2]))
    raise ConnectionError("the tracker describes no stream of gaze")


def _control_url(base: str, control: str) -> str:
    if control in ("", "*"):
        return base
    if control.startswith("rtsp://"):
        return control
    # Servers and clients append the control, whatever RFC 1808 says of queries and missing slashes.
    return f"{base.rstrip('/')}/{control.lstrip('/')}"


def _more(connection: socket.socket, have: int) -> bytes:
    data = connection.recv(4096) if have < MAX_ANSWER else b""
    if not data:
        raise ConnectionError("the tracker's answer is cut off or too long")
    return data


def _udp_pair(connection: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Two ports, an even one and the next, at the address that the tracker reaches us by."""
    here = connection.getsockname()[0]
    for _ in range(20):
        first = socket.socket(connection.family, socket.SOCK_DGRAM)
        second = socket.socket(connection.family, socket.SOCK_DGRAM)
        try:
            first.bind((here, 0))
            port = first.getsockname()[1]
            if port % 2 == 0:
                second.bind((here, port + 1))
                first.setblocking(False)
                second.setblocking(False)
                return first, second
        except OSError:
            pass
        first.close()
        second.close()
    raise OSError("no two neighbouring UDP ports are free")
