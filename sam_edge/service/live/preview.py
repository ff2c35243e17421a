"""Frames for an <img>: one now, or one after the other."""

from __future__ import annotations

from aiohttp import web

from sam_edge.errors import InputError
from sam_edge.service.context import CONTEXT
from sam_edge.service.live.hub import Viewer
from sam_edge.service.live.outbox import Outbox, Wants
from sam_edge.service.live.wire import parse_binary, to_jpeg
from sam_edge.streaming.sinks.jpegs import MAX_SIDE, shrunk

FPS = 15.0
BOUNDARY = "frame"


async def frame_jpeg(request: web.Request) -> web.StreamResponse:
    """`GET /v1/frame.jpg`."""
    context = request.app[CONTEXT]
    frame = context.stream.scene.frame
    if frame is None:
        raise InputError("there is no frame yet", hint="ask again in a moment")
    image = frame.image
    jpeg = await context.worker.run(lambda: to_jpeg(shrunk(image, MAX_SIDE / max(image.shape[:2]))))
    headers = {"X-Capture-Ns": str(frame.capture_ns), "Cache-Control": "no-store"}
    return web.Response(body=jpeg, content_type="image/jpeg", headers=headers)


async def preview(request: web.Request) -> web.StreamResponse:
    """`GET /v1/preview.mjpeg`: until the client leaves. Whoever is slow misses frames."""
    context = request.app[CONTEXT]
    if context.previews >= context.config.max_previews:
        raise web.HTTPServiceUnavailable
    context.previews += 1
    outbox = Outbox()
    try:
        response = web.StreamResponse(
            headers={
                "Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY}",
                "Cache-Control": "no-store",
            }
        )
        await response.prepare(request)
        with context.hub.joined(Viewer(outbox, Wants(results=False, frames=FPS))):
            while (message := await outbox.take()) is not None:
                assert isinstance(message, bytes), "frames are"
                _, jpeg = parse_binary(message)
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                await response.write(head.encode() + jpeg + b"\r\n")
    except ConnectionError:
        pass
    finally:
        context.previews -= 1
    return response
