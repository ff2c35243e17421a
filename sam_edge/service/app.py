"""The routes, and what stands before all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.multipart import BodyPartReader

from sam_edge.errors import InputError
from sam_edge.service.asking.prompts import Request, known, parse_image, parse_json, parse_request
from sam_edge.service.asking.store import Kept
from sam_edge.service.context import CONTEXT, Context, said
from sam_edge.service.live.preview import frame_jpeg, preview
from sam_edge.service.live.socket import stream_socket
from sam_edge.service.live.wire import embedding_message
from sam_edge.service.openapi import openapi
from sam_edge.service.page import HEADERS, Page

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WORDS = {
    400: ("malformed", "the request is not HTTP as it should be"),
    401: ("unauthorized", "the token is missing or wrong"),
    403: ("forbidden", "the Origin is another site's"),
    404: ("not_found", "there is no such thing"),
    405: ("method", "this cannot be done with it"),
    408: ("timeout", "the body did not come in time"),
    413: ("too_large", "the body is too large"),
    415: ("type", "the Content-Type is not one of docs/service.md"),
    421: ("host", "without a token, the Host must be localhost or a loopback address"),
    429: ("rate", "too many requests"),
    503: ("unavailable", "there are too many already"),
}


def make_app(context: Context) -> web.Application:
    """The service as an aiohttp application."""
    app = web.Application(middlewares=[front], client_max_size=context.config.max_body_bytes)
    app[CONTEXT] = context
    page = Page()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/v1/info", info),
            web.get("/v1/decoder.onnx", decoder),
            web.get("/v1/openapi.json", document),
            web.get("/v1/frame.jpg", frame_jpeg),
            web.get("/v1/preview.mjpeg", preview, allow_head=False),
            web.get("/v1/stream", stream_socket, allow_head=False),
            web.post("/v1/segment", segment),
            web.post("/v1/embeddings", encode),
            web.post("/v1/embeddings/{id}/masks", masks),
            web.get("/v1/embeddings/{id}", tensors),
            web.get("/v1/embeddings/{id}/frame.jpg", picture),
            web.delete("/v1/embeddings/{id}", forget),
            web.get("/", page.serve),
            *(web.get(path, page.serve) for path in page.paths),
        ]
    )
    return app


@web.middleware
async def front(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Times, lets in or refuses, and words what went wrong."""
    context = request.app[CONTEXT]
    transport = request.transport
    context.connections.request_began(transport)
    try:
        response = await _answered(context, request, handler)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response
    finally:
        context.connections.request_ended(transport)


async def _answered(context: Context, request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        context.gate.check(request)
        if request.method == "POST":
            _check_body(context, request)
        return await handler(request)
    except web.HTTPException as error:
        return _worded(error)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:
        status, words = context.failure(error)
        context.outcomes[words["code"]] += 1
        return _refused(status, words)


def _check_body(context: Context, request: web.Request) -> None:
    if (request.content_length or 0) > context.config.max_body_bytes:
        raise web.HTTPRequestEntityTooLarge(context.config.max_body_bytes, request.content_length or 0)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType
    if not context.rates.take(request.remote or ""):
        context.outcomes["rate"] += 1
        raise web.HTTPTooManyRequests(headers={"Retry-After": "1"})


def _worded(error: web.HTTPException) -> web.Response:
    code, what = WORDS.get(error.status, ("refused", error.reason))
    kept = {
        name: error.headers[name]
        for name in ("WWW-Authenticate", "Allow", "Retry-After")
        if name in error.headers
    }
    return _refused(error.status, said(code, what), kept)


def _refused(status: int, words: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    response = web.json_response({"error": words}, status=status, headers=headers)
    # What is left of the body is not read.
    response.force_close()
    return response


async def healthz(request: web.Request) -> web.Response:
    """Whether frames, gaze and embeddings are as new as they should be."""
    found = request.app[CONTEXT].health()
    return web.json_response(found, status=200 if found["status"] == "ok" else 503)


async def readyz(request: web.Request) -> web.Response:
    """Whether the first frame is encoded."""
    is_ready = request.app[CONTEXT].stream.scene.embedding is not None
    return web.json_response({"status": "ready" if is_ready else "warming"}, status=200 if is_ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """For Prometheus."""
    body = request.app[CONTEXT].metrics.text()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def info(request: web.Request) -> web.Response:
    """The model, the frames and the limits."""
    return web.json_response(request.app[CONTEXT].info())


async def document(request: web.Request) -> web.Response:
    """OpenAPI."""
    return web.json_response(openapi(request.app[CONTEXT].config))


async def decoder(request: web.Request) -> web.Response:
    """The decoder's graph."""
    body = request.app[CONTEXT].decoder
    if not body:
        raise web.HTTPNotFound
    return web.Response(body=body, content_type="application/octet-stream")


async def segment(request: web.Request) -> web.Response:
    """An image and prompts become masks."""
    context = request.app[CONTEXT]
    limit = context.config.max_prompts
    if request.content_type == "multipart/form-data":
        parts = await _in_time(context, _parts(request, context.config.max_body_bytes))
        asked, image = parse_request(parse_json(parts.get("request", b"")), limit), parts.get("image")
    elif request.content_type == "application/json":
        asked = parse_request(parse_json(await _body(context, request)), limit, with_image=True)
        image = asked.image
    else:
        raise web.HTTPUnsupportedMediaType
    if image is None:
        raise InputError("there is no image", hint="send a part `image`, or a field of base64")
    found = await context.worker.run(lambda: context.engine.segment(image, asked))
    return _found(context, found)


async def encode(request: web.Request) -> web.Response:
    """An image, or the newest frame, is encoded and kept."""
    context = request.app[CONTEXT]
    engine = context.engine
    image: bytes
    if request.content_type.startswith("image/"):
        image = await _body(context, request)
    elif request.content_type == "application/json":
        fields = parse_json(await _body(context, request))
        known(fields, "image", "source")
        if fields.get("source") == "live" and "image" not in fields:
            found, _ = await context.worker.run(lambda: engine.freeze(context.stream.scene))
            return _kept(context, found)
        if "source" in fields or "image" not in fields:
            raise InputError("what to encode is not said", hint='give "image", or "source": "live"')
        image = parse_image(fields["image"])
    else:
        raise web.HTTPUnsupportedMediaType
    return _kept(context, await context.worker.run(lambda: engine.keep(image)))


async def masks(request: web.Request) -> web.Response:
    """Prompts on what is kept become masks."""
    context = request.app[CONTEXT]
    kept = _kept_one(request)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    fields = parse_json(await _body(context, request))
    asked: Request = parse_request(fields, context.config.max_prompts)
    return _found(context, await context.worker.run(lambda: context.engine.masks(kept.embedding, asked)))


async def tensors(request: web.Request) -> web.Response:
    """An embedding itself."""
    kept, dtype = _kept_one(request), request.query.get("dtype", "float16")
    if dtype not in ("float16", "float32"):
        raise InputError("dtype is unknown", hint="choose float16 or float32")
    body = await request.app[CONTEXT].worker.run(
        lambda: embedding_message(kept.embedding, "float32" if dtype == "float32" else "float16")
    )
    return web.Response(body=body, content_type="application/octet-stream")


async def picture(request: web.Request) -> web.Response:
    """The picture of a frame that was frozen."""
    jpeg = _kept_one(request).jpeg
    if jpeg is None:
        raise web.HTTPNotFound
    return web.Response(body=jpeg, content_type="image/jpeg")


async def forget(request: web.Request) -> web.Response:
    """An embedding is not needed any more."""
    if not request.app[CONTEXT].engine.store.remove(request.match_info["id"]):
        raise web.HTTPNotFound
    return web.Response(status=204)


def _kept_one(request: web.Request) -> Kept:
    kept = request.app[CONTEXT].engine.store.get(request.match_info["id"])
    if kept is None:
        raise web.HTTPNotFound
    return kept


def _found(context: Context, found: dict[str, Any]) -> web.Response:
    context.outcomes["ok"] += 1
    return web.json_response({"v": 1, **found})


def _kept(context: Context, found: dict[str, Any]) -> web.Response:
    context.outcomes["ok"] += 1
    body = {"v": 1, **found, "expires_s": context.config.embedding_expires_s}
    return web.json_response(body, status=201)


async def _body(context: Context, request: web.Request) -> bytes:
    body: bytes = await _in_time(context, request.read())
    return body


async def _in_time(context: Context, reading: Awaitable[Any]) -> Any:
    try:
        return await asyncio.wait_for(reading, context.config.body_timeout_s)
    except asyncio.TimeoutError as error:
        raise web.HTTPRequestTimeout from error


async def _parts(request: web.Request, max_bytes: int) -> dict[str, bytes]:
    """The parts `image` and `request` of a form; both together have a limit, whatever the head says."""
    found: dict[str, bytes] = {}
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if (
                not isinstance(part, BodyPartReader)
                or part.name not in ("image", "request")
                or part.name in found
            ):
                raise InputError("a part is neither `image` nor `request`", hint="send one of each")
            data = bytearray()
            while chunk := await part.read_chunk():
                data += chunk
                if len(data) + sum(map(len, found.values())) > max_bytes:
                    raise web.HTTPRequestEntityTooLarge(max_bytes, len(data))
            found[part.name] = bytes(data)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise error if isinstance(error, InputError) else InputError("this is not a form") from error
    return found
