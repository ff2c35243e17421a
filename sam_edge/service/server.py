"""From a stream to an address that answers, and to its end."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from sam_edge.errors import InputError
from sam_edge.service.app import make_app
from sam_edge.service.context import Context
from sam_edge.service.live.hub import Hub
from sam_edge.service.metrics import Metrics
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.threaded import ThreadedSink

BACKLOG = 128
GOODBYE_S = 2.0
"""So long requests may go on when the service ends."""


class Feed:
    """Between a stream and the service: `each` is what the stream calls.

    Args:
        loop: of the service.
        frame_wh: width and height of the frames.
        fps: frames per second.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, frame_wh: tuple[int, int], fps: float) -> None:
        self.metrics = Metrics()
        self.hub = Hub(loop)
        self._sink = ThreadedSink("viewers", frame_wh, fps, opener=self.hub.open)

    def each(self, frame_result: FrameResult) -> None:
        """Take a part of a frame; never waits."""
        self.metrics.observe(frame_result)
        self._sink.write(frame_result)

    def close(self) -> None:
        """After the last part."""
        self._sink.close()


@asynccontextmanager
async def listening(context: Context) -> AsyncIterator[tuple[str, int]]:
    """Answer at the configured address until the block ends; gives host and port.

    Raises:
        InputError: the address cannot be had, or the certificate cannot be used.
    """
    config = context.config
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        make_app(context),
        access_log=None,
        auto_decompress=False,
        lingering_time=0.5,
        keepalive_timeout=config.head_timeout_s,
        shutdown_timeout=GOODBYE_S,
        handler_cancellation=True,
    )
    await runner.setup()
    loop = asyncio.get_running_loop()
    encryption = _encryption(config.tls_cert, config.tls_key) if config.tls_cert else None
    assert runner.server is not None, "it was set up"
    make: Callable[[], asyncio.Protocol] = runner.server
    try:
        try:
            server = await loop.create_server(
                lambda: context.connections.guarded(make),
                config.host,
                config.port,
                ssl=encryption,
                ssl_handshake_timeout=config.head_timeout_s if encryption else None,
                backlog=BACKLOG,
            )
        except OSError as error:
            raise InputError(
                f"cannot listen on {config.host}:{config.port}: {error.strerror or error}",
                hint="give another --host or --port",
            ) from error
        try:
            host, port = server.sockets[0].getsockname()[:2]
            yield host, port
        finally:
            server.close()
    finally:
        context.hub.end()
        await runner.shutdown()
        await runner.cleanup()
        await asyncio.to_thread(context.worker.close)


def _encryption(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"the certificate {certificate} and the key {key} cannot be used: {error.strerror or error}"
        ) from error
    return context
