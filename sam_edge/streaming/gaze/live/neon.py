"""Pupil Labs Neon and Invisible: `neon://HOST[:PORT]`, the Real-time API of the Companion app.

The protocol: pupil-labs.github.io/pl-realtime-api, "Under the hood". The app tells over HTTP where its streams
are; gaze comes by RTSP and RTP, one packet a sample: x and y in pixels of the scene camera from the top left,
and whether the glasses are worn, in network order, then data of the eyes, as the length tells. RTCP dates the
packets in Unix time of the phone, and the Time Echo port tells how that differs from ours.

Their own library, pupil-labs-realtime-api, brings video decoders, sound and pandas to say the same.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import struct
from dataclasses import dataclass
from functools import partial
from time import monotonic_ns
from typing import Any

from sam_edge.streaming.gaze.live.address import parse_address
from sam_edge.streaming.gaze.live.rtp import RtpPacket, SenderReport, parse_rtcp, parse_rtp
from sam_edge.streaming.gaze.live.rtsp import RtspSession
from sam_edge.streaming.gaze.live.tracker import Link, RejectedError, Tracker, checked_sample
from sam_edge.streaming.gaze.sample import GazeSample

PORT = 8080
TIMEOUT_S = 3.0
SILENCE_S = 5.0
"""Gaze comes 200 times a second: after so long without any, the connection is made anew."""
MAX_STATUS = 1 << 17
MAX_DATAGRAM = 2048
NEON_WH, INVISIBLE_WH = (1600, 1200), (1088, 1080)
INVISIBLE_HARDWARE = "1"
ECHOES = 15
RESYNC_NS = 60 * 10**9
LENGTHS = {9: "!ffB", 17: "!ffBff", 25: "!ffB16x", 65: "!ffB56x", 89: "!ffB80x", 105: "!ffB96x"}
"""Length of a payload -> its beginning: gaze; gaze of each eye; both; gaze with pupils and eyeballs; and with
eyelids; and with the gaze of each eye."""
WORN = 255


@dataclass(frozen=True)
class Status:
    """What the app says of itself."""

    rtsp_port: int
    rtsp_path: str
    echo_port: int | None
    scene_wh: tuple[int, int]


def open_neon(name: str) -> Tracker:
    """Receive the gaze of a Companion app; needs no further library.

    Raises:
        InputError: the address is wrong.
    """
    host, port = parse_address(name, "neon://HOST[:PORT]", default_port=PORT)

    def receive(link: Link) -> None:
        status = read_status(host, port)
        session = RtspSession.open(host, status.rtsp_port, status.rtsp_path)
        try:
            _receive(host, status, session, link)
        finally:
            session.close()

    return Tracker(name, receive)


def _receive(host: str, status: Status, session: RtspSession, link: Link) -> None:
    decoder = Decoder(status.scene_wh, session.medium.payload_type, session.medium.clock_hz)
    decoder.offset_ns = measure_offset_ns(host, status.echo_port)
    synced_ns = kept_ns = heard_ns = monotonic_ns()
    while not link.closed:
        ready = link.wait(session.rtcp, session.rtp, session.connection, timeout_s=1.0)
        now_ns = monotonic_ns()
        for source in ready:
            if source is session.connection:
                session.drain()
            elif source is session.rtcp:
                decoder.report(_datagram(session.rtcp))
            else:
                heard_ns = now_ns
                link.offer(partial(decoder.sample, _datagram(session.rtp), now_ns))
        if now_ns - heard_ns > SILENCE_S * 1e9:
            raise ConnectionError(f"no gaze for {SILENCE_S:g} s")
        if now_ns - kept_ns > session.keep_alive_s * 1e9:
            session.keep_alive()
            kept_ns = now_ns
        if now_ns - synced_ns > RESYNC_NS:
            offset_ns = measure_offset_ns(host, status.echo_port)
            decoder.offset_ns = decoder.offset_ns if offset_ns is None else offset_ns
            synced_ns = now_ns


def _datagram(listener: socket.socket) -> bytes:
    try:
        return listener.recv(MAX_DATAGRAM)
    except BlockingIOError:
        return b""


class Decoder:
    """Makes samples of RTP packets."""

    def __init__(self, scene_wh: tuple[int, int], payload_type: int, clock_hz: int) -> None:
        self.offset_ns: int | None = None
        """From Unix time of the phone to this machine's clock; None: it is not known."""
        self._scene_wh = scene_wh
        self._payload_type = payload_type
        self._clock_hz = clock_hz
        self._report: SenderReport | None = None

    def report(self, data: bytes) -> None:
        """Take an RTCP packet."""
        self._report = parse_rtcp(data) or self._report

    def sample(self, data: bytes, receive_ns: int) -> GazeSample:
        """The sample in an RTP packet.

        Raises:
            RejectedError: `malformed`, `unknown length`, `not finite`, `out of range`; `undated`: no report
                came yet.
        """
        packet: RtpPacket = parse_rtp(data)
        if packet.payload_type != self._payload_type:
            raise RejectedError("malformed")
        x_px, y_px, worn = parse_payload(packet.payload)
        if self._report is None:
            raise RejectedError("undated")
        unix_ns = self._report.unix_of(packet.timestamp, self._clock_hz)
        return checked_sample(
            unix_ns + (self.offset_ns or 0),
            x_px / self._scene_wh[0],
            y_px / self._scene_wh[1],
            1.0 if worn else 0.0,
            clock="source" if self.offset_ns is None else "host",
            receive_ns=receive_ns,
            offset_ns=self.offset_ns or 0,
        )


def parse_payload(payload: bytes) -> tuple[float, float, bool]:
    """x and y in pixels, and whether the glasses are worn.

    Raises:
        RejectedError: no gaze of such a length is known.
    """
    form = LENGTHS.get(len(payload))
    if form is None:
        raise RejectedError("unknown length")
    x, y, worn, *right = struct.unpack(form, payload)
    if right:
        # Two eyes that were measured by themselves: between them is what both look at.
        x, y = (x + right[0]) / 2, (y + right[1]) / 2
    return x, y, worn == WORN


def read_status(host: str, port: int) -> Status:
    """Ask the app where its gaze is.

    Raises:
        OSError: it does not answer, or has no gaze.
    """
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/api/status")
        answer = connection.getresponse()
        if answer.status != 200:
            raise ConnectionError(f"the Companion app answers {answer.status}")
        return parse_status(answer.read(MAX_STATUS))
    except http.client.HTTPException as error:
        raise ConnectionError("what answers is not the Companion app") from error
    finally:
        connection.close()


def parse_status(text: bytes) -> Status:
    """Find the stream of gaze in the app's status.

    Raises:
        ConnectionError: it is no status, or has no gaze.
    """
    try:
        models = [(each["model"], dict(each["data"])) for each in json.loads(text)["result"]]
        sensors = [data for model, data in models if model == "Sensor" and data.get("sensor") == "gaze"]
        phone: dict[str, Any] = next((data for model, data in models if model == "Phone"), {})
        hardware = next((data for model, data in models if model == "Hardware"), {})
        gaze = next(
            (s for s in sensors if s.get("conn_type", "DIRECT") == "DIRECT" and s.get("connected", True)), None
        )
        if gaze is None:
            raise ConnectionError("the Companion app has no gaze: are the glasses plugged in?")
        echo = phone.get("time_echo_port")
        port, params = _port(gaze["port"]), str(gaze.get("params") or "camera=gaze")
        invisible = str(hardware.get("version", "")).partition(".")[0] == INVISIBLE_HARDWARE
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConnectionError("what answers is not the Companion app") from error
    if not params.isascii() or not params.isprintable() or " " in params:
        raise ConnectionError("what answers is not the Companion app")
    return Status(
        port, f"?{params}", None if echo is None else _port(echo), INVISIBLE_WH if invisible else NEON_WH
    )


def _port(value: Any) -> int:
    port = int(value)
    if not 0 < port < 1 << 16:
        raise ValueError(f"{port} is not a port")
    return port


def measure_offset_ns(host: str, port: int | None) -> int | None:
    """What to add to the phone's Unix time to get this machine's monotonic clock; None if it does not tell.

    The median of several echoes: the middle of asking and hearing, less the answer in whole milliseconds.
    """
    if port is None:
        return None
    offsets = []
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            for _ in range(ECHOES):
                before_ns = monotonic_ns()
                asked = struct.pack("!Q", before_ns // 1_000_000)
                connection.sendall(asked)
                answer = _exactly(connection, 16)
                middle_ns = (before_ns + monotonic_ns()) // 2
                if answer[:8] == asked:
                    offsets.append(middle_ns - int.from_bytes(answer[8:], "big") * 1_000_000)
    except OSError:
        return None
    return round(statistics.median(offsets)) if offsets else None


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the Time Echo ended")
        data += more
    return data
