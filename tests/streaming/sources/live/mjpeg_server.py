"""A camera on loopback that sends a JPEG over HTTP again and again; ends when it is killed.

Of the standard library alone, so that it starts at once: tests start it as a program and kill it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from threading import Event, Thread


class CameraServer(ThreadingHTTPServer):
    """Sends `chunks` to everybody who asks, then ends the answer."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        chunks: Iterable[bytes],
        port: int = 0,
        boundary: str = "frame",
        status: int = 200,
        hold: bool = False,
    ) -> None:
        """Listen on loopback.

        Args:
            chunks: the body, in pieces.
            port: 0: any that is free.
            boundary: of the type of the answer; with "" the type is text/html.
            status: of the answer.
            hold: after the last piece send nothing more, but stay connected until the server ends.
        """
        super().__init__(("127.0.0.1", port), _Handler)
        self.chunks = chunks
        self.kind = f"multipart/x-mixed-replace; boundary={boundary}" if boundary else "text/html"
        self.status = status
        self.hold = hold
        self.ends = Event()
        self.asked: list[tuple[str, str | None]] = []
        """Path and authorization of each request."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Readers leave when they like."""


class _Handler(BaseHTTPRequestHandler):
    server: CameraServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        with suppress(OSError):
            for chunk in self.server.chunks:
                self.wfile.write(chunk)
            if self.server.hold:
                self.server.ends.wait()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def running(server: CameraServer) -> Iterator[CameraServer]:
    """Serve in a thread."""
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.ends.set()
        server.shutdown()
        server.server_close()
        thread.join()


def part(body: bytes, *, length: int | None = None, headers: str = "", boundary: str = "frame") -> bytes:
    """A part with its boundary; `length` 0 leaves the length out."""
    said = "" if length == 0 else f"Content-Length: {length or len(body)}\r\n"
    return f"--{boundary}\r\nContent-Type: image/jpeg\r\n{said}{headers}\r\n".encode() + body + b"\r\n"


if __name__ == "__main__":
    with CameraServer(repeat(part(Path(sys.argv[2]).read_bytes())), int(sys.argv[1])) as camera:
        print(camera.server_address[1], flush=True)
        camera.serve_forever()
