"""A service that shows one picture: the messages of docs/service.md with the shipped model behind them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from aiohttp import WSMsgType, web

import sam_edge
from sam_edge.bundle.folder import find_bundle
from sam_edge.embedding import Embedding
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.synthetic.scene import Scene

PAGE = Path(sam_edge.__file__).parent / "assets" / "viewer"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".gz": "application/gzip", ".css": "text/css"}
FPS = 15.0
IMAGE = Scene(seed=1).frame(30).image
"""(360, 640, 3): the picture that it shows."""


def binary(payload: bytes, **header: Any) -> bytes:
    """A binary message: the header's length, the header, the payload from a multiple of 8."""
    text = json.dumps({"v": 1, **header}).encode()
    text += b" " * (-(4 + len(text)) % 8)
    return len(text).to_bytes(4, "little") + text + payload


class FakeService:
    """Serves the page on a port of its own, from a thread, until `close`."""

    def __init__(self, segmenter: Segmenter, embedding: Embedding) -> None:
        self.freshness = "fresh"
        """What every result says of itself."""
        self.token: str | None = None
        self.takes_gaze = True
        self.received: list[dict[str, Any]] = []
        self._segmenter = segmenter
        self._image = IMAGE
        self._embedding = embedding
        self._jpeg = cv2.imencode(".jpg", cv2.cvtColor(self._image, cv2.COLOR_RGB2BGR))[1].tobytes()
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner
        self.url = ""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)

    @property
    def frame_wh(self) -> list[int]:
        return [self._image.shape[1], self._image.shape[0]]

    def drop(self) -> None:
        """Close every WebSocket, as a service does that is restarted."""

        async def close() -> None:
            for socket in list(self._sockets):
                await socket.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    def close(self) -> None:
        self.drop()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        started.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._front])
        app.router.add_get("/v1/stream", self._stream)
        app.router.add_get("/v1/info", self._info)
        app.router.add_get("/v1/decoder.onnx", self._decoder)
        app.router.add_get("/v1/embeddings/{id}", self._tensors)
        app.router.add_get("/{path:.*}", self._page)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    @web.middleware
    async def _front(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization") == f"Bearer {self.token}" or (
            request.cookies.get("sam_edge") == self.token
        )
        # The page itself is given without the token here: a browser's own dialog cannot be tested.
        if self.token and not given and (request.path.startswith("/v1/") or "Authorization" in request.headers):
            return web.json_response({}, status=401, headers=HEADERS)
        response: web.StreamResponse = await handler(request)
        return response

    async def _page(self, request: web.Request) -> web.Response:
        path = PAGE / (request.match_info["path"] or "index.html")
        kind = TYPES.get(path.suffix, "image/svg+xml" if path.suffix == ".svg" else "text/html")
        response = web.Response(body=path.read_bytes(), content_type=kind, headers=HEADERS)
        if self.token and "Authorization" in request.headers:
            response.set_cookie("sam_edge", self.token, httponly=True, samesite="Strict")
        return response

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response(self._hello(), headers=HEADERS)

    async def _decoder(self, request: web.Request) -> web.Response:
        graph = find_bundle("nano").path / "decoder.onnx"
        return web.Response(body=graph.read_bytes(), headers=HEADERS)

    async def _tensors(self, request: web.Request) -> web.Response:
        return web.Response(body=self._packed(self._embedding, time.monotonic_ns()), headers=HEADERS)

    def _hello(self) -> dict[str, Any]:
        gaze = "clients" if self.takes_gaze else "tracker"
        return {"v": 1, "model": {"name": "nano"}, "frame_wh": self.frame_wh, "gaze": gaze}

    def _packed(self, embedding: Embedding, capture_ns: int) -> bytes:
        payload, tensors = b"", {}
        for name, tensor in embedding.tensors.items():
            half = np.asarray(tensor, np.float16)
            tensors[name] = {"dtype": "float16", "shape": list(half.shape), "offset": len(payload)}
            payload += half.tobytes() + bytes(-half.nbytes % 8)
        view = embedding.view
        places = {
            name: list(getattr(view, name)) for name in ("frame_wh", "window_xywh", "content_wh", "input_wh")
        }
        return binary(
            payload, type="embedding", model="nano", capture_ns=capture_ns, view=places, tensors=tensors
        )

    def _masks(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        points = fields.get("points", [])
        prompt = Prompt.points(
            [[x, y] for x, y, _ in points], [label for *_, label in points], box=fields.get("box")
        )
        return self._segmenter.decode(self._embedding, prompt).to_coco()

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        await socket.send_str(json.dumps({"type": "hello", **self._hello()}))
        frames = asyncio.create_task(self._send_frames(socket))
        try:
            with suppress(ConnectionError):
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        await self._take(socket, json.loads(message.data))
        finally:
            frames.cancel()
            await asyncio.gather(frames, return_exceptions=True)
            self._sockets.discard(socket)
        return socket

    async def _send_frames(self, socket: web.WebSocketResponse) -> None:
        index = 0
        while True:
            now_ns = time.monotonic_ns()
            frame = {"index": index, "capture_ns": now_ns, "wh": self.frame_wh, "frame_wh": self.frame_wh}
            await socket.send_bytes(binary(self._jpeg, type="frame", **frame))
            if index % 15 == 0:
                await socket.send_bytes(self._packed(self._embedding, now_ns))
            index += 1
            await asyncio.sleep(1 / FPS)

    async def _take(self, socket: web.WebSocketResponse, fields: dict[str, Any]) -> None:
        self.received.append(fields)
        name, now_ns = fields.get("id"), time.monotonic_ns()
        match fields["type"]:
            case "ping":
                await socket.send_str(json.dumps({"v": 1, "type": "pong", "id": name, "t_ns": now_ns}))
            case "gaze" if not self.takes_gaze:
                await socket.send_str(
                    json.dumps({"type": "error", "code": "gaze_taken", "what": "a tracker runs"})
                )
            case "gaze" if fields.get("confidence", 1) > 0:
                await socket.send_str(json.dumps(self._result(fields, now_ns)))
            case "prompt":
                answer = {"frame_wh": self.frame_wh, "masks": self._masks(fields), "decode_ms": 6.0}
                answer |= {"capture_ns": now_ns, "embedding_age_ms": 20.0, "freshness": "fresh"}
                await socket.send_str(json.dumps({"v": 1, "type": "answer", "id": name, **answer}))
            case "freeze":
                head = {"embedding": "e1", "capture_ns": now_ns, "frame_wh": self.frame_wh}
                await socket.send_str(
                    json.dumps({"v": 1, "type": "frozen", "id": name, "expires_s": 300, **head})
                )
                await socket.send_bytes(binary(self._jpeg, type="frame", index=0, wh=self.frame_wh, **head))
            case "follow" | "unfollow":
                await socket.send_str(json.dumps({"v": 1, "type": fields["type"], "id": name}))

    def _result(self, fields: dict[str, Any], now_ns: int) -> dict[str, Any]:
        masks = self._masks({"points": [[fields["x_px"], fields["y_px"], 1]]})
        masks.sort(key=lambda mask: -mask["predicted_iou"])
        ages = {"gaze_age_ms": 9.1, "frame_age_ms": 8.0, "embedding_age_ms": 61.5}
        return {
            **{
                "v": 1,
                "type": "result",
                "frame": 1,
                "capture_ns": now_ns,
                "frame_wh": self.frame_wh,
                "t_ms": 1.0,
            },
            **{"x_px": fields["x_px"], "y_px": fields["y_px"], "object_id": None, "status": "mask"},
            **{"freshness": self.freshness, **ages, "decode_ms": 6.0, "reused": False},
            **{"stages_ms": {"total": 7.1}, "mask": masks[0], "candidates": masks},
        }
