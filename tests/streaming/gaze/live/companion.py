"""A stand-in for the Companion app: its HTTP status, its Time Echo, and gaze by RTSP and RTP.

pupil-labs-realtime-api 1.9.0, Pupil Labs' own client, understands it too.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

from tests.streaming.gaze.live.test_rtp import sender_report

CLOCK_HZ, PAYLOAD_TYPE = 90_000, 99
AHEAD_S = 1_700_000_000.0
"""The phone's Unix time less this machine's monotonic clock."""


@dataclass
class Companion:
    """What the app sends, and what it was asked."""

    payloads: Sequence[bytes]
    """Of the packets after the sender report: the first has its time, each other comes 1,000 ticks later."""
    unix_s: float = 1_700_005_000.0
    version: str = "2.0"
    echoes: bool = True
    refuse_base: bool = False
    """Whether streams are set up by their control address alone, as the RFC asks for several media."""
    dated: bool = True
    """Whether a sender report comes first."""
    methods: list[str] = field(default_factory=list)

    @contextmanager
    def serve(self) -> Iterator[int]:
        """Run the app; gives the port of its HTTP server."""
        with ExitStack() as stack:
            rtsp = stack.enter_context(_listening(self._rtsp))
            echo = stack.enter_context(_listening(_time_echo))
            yield stack.enter_context(_listening(lambda connection: self._http(connection, rtsp, echo)))

    def _http(self, connection: socket.socket, rtsp: int, echo: int) -> None:
        request = connection.recv(4096)
        sensor = {
            "sensor": "gaze",
            "conn_type": "DIRECT",
            "connected": True,
            "ip": "127.0.0.1",
            "port": rtsp,
            "params": "camera=gaze",
            "protocol": "rtsp",
        }
        phone: dict[str, object] = {
            "battery_level": 80,
            "battery_state": "OK",
            "device_id": "1",
            "device_name": "phone",
            "ip": "127.0.0.1",
            "memory": 1,
            "memory_state": "OK",
        }
        if self.echoes:
            phone["time_echo_port"] = echo
        result = [
            {"model": "Phone", "data": phone},
            {"model": "Hardware", "data": {"version": self.version}},
            {"model": "Sensor", "data": {**sensor, "sensor": "world", "port": 1}},
            {"model": "Sensor", "data": {**sensor, "conn_type": "WEBSOCKET", "port": 2}},
            {"model": "Sensor", "data": sensor},
        ]
        body = json.dumps({"message": "Success", "result": result}).encode()
        found = b"200 OK" if request.startswith(b"GET /api/status ") else b"404 Not Found"
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (found, len(body)) + body)

    def _rtsp(self, connection: socket.socket) -> None:
        client_port = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp, connection.makefile("rb") as lines:
            rtp.bind(("127.0.0.1", 0))
            while request := lines.readline().decode():
                method, url, _ = request.split()
                self.methods.append(method)
                headers = {}
                while line := lines.readline().decode().strip():
                    name, _, text = line.partition(": ")
                    headers[name] = text
                answer, body, status = {"CSeq": headers["CSeq"]}, "", "200 OK"
                if method == "OPTIONS":
                    answer["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
                elif method == "DESCRIBE":
                    body = (
                        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=gaze\r\nt=0 0\r\n"
                        f"m=application 0 RTP/AVP {PAYLOAD_TYPE}\r\na=control:trackID=3\r\n"
                        f"a=rtpmap:{PAYLOAD_TYPE} com.pupillabs.gaze1/{CLOCK_HZ}\r\n"
                    )
                    answer |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
                elif method == "SETUP" and self.refuse_base and not url.endswith("/trackID=3"):
                    status = "460 Only aggregate operation allowed"
                elif method == "SETUP":
                    client_port = int(headers["Transport"].partition("client_port=")[2].partition("-")[0])
                    here = rtp.getsockname()[1]
                    answer["Transport"] = f"{headers['Transport']};server_port={here}-{here + 1}"
                    answer["Session"] = "12345678;timeout=60"
                head = "".join(f"{name}: {text}\r\n" for name, text in answer.items())
                connection.sendall(f"RTSP/1.0 {status}\r\n{head}\r\n{body}".encode())
                if method == "PLAY":
                    self._send(rtp, client_port)

    def _send(self, rtp: socket.socket, client_port: int) -> None:
        if self.dated:
            rtp.sendto(sender_report(self.unix_s, 2**32 - 500), ("127.0.0.1", client_port + 1))
        for number, payload in enumerate(self.payloads):
            # The counter wraps soon after the report.
            ticks = (2**32 - 500 + 1000 * number) % 2**32
            head = struct.pack("!BBHII", 0x80, PAYLOAD_TYPE, number, ticks, 1)
            rtp.sendto(head + payload, ("127.0.0.1", client_port))


def _time_echo(connection: socket.socket) -> None:
    while asked := connection.recv(8):
        connection.sendall(asked + struct.pack("!Q", int((time.monotonic() + AHEAD_S) * 1e3)))


@contextmanager
def _listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server of this machine; each connection is answered in a thread of its own."""
    threads: list[Thread] = []
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                answer(connection)
            except OSError:
                # The other side hung up.
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(Thread(target=talk, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = Thread(target=accept)
        accepting.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
