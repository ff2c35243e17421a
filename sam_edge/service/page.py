"""The viewer's files. Their names are read once, so no path of a request reaches the file system."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from sam_edge.service.auth import COOKIE
from sam_edge.service.context import CONTEXT

FOLDER = Path(__file__).parents[1] / "assets" / "viewer"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".gz": "application/gzip",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".txt": "text/plain",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "sam-edge",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Of every answer; the page may load its own files alone, and nobody may show it in a frame."""


class Page:
    """The files of a folder, by the path they are asked for."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: Mapping[str, Path] = {
            "/" + path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix in TYPES
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """What can be asked for."""
        return tuple(self._files)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`GET /` and the files beside it."""
        name = "/index.html" if request.path == "/" else request.path
        path = self._files.get(name)
        if path is None:
            raise web.HTTPNotFound
        status = path.stat()
        etag = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        body = await asyncio.to_thread(path.read_bytes)
        charset = "utf-8" if TYPES[path.suffix].startswith("text/") else None
        response = web.Response(body=body, content_type=TYPES[path.suffix], charset=charset, headers=headers)
        context = request.app[CONTEXT]
        cookie = context.gate.cookie()
        if name == "/index.html" and cookie is not None:
            is_safe = bool(context.config.tls_cert or context.config.behind_proxy)
            response.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", secure=is_safe, path="/")
        return response
