"""Who may not ask, and what must not break it: real requests and raw sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.segmenter import Segmenter
from sam_edge.service.auth import COOKIE
from sam_edge.service.page import FOLDER
from tests.service.running import PATIENCE_S, Running, jpeg, message, run, serving, until

TOKEN = "0123456789abcdef-secret"
PATHS = [
    ("GET", "/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/info"),
    ("GET", "/v1/frame.jpg"),
    ("GET", "/v1/preview.mjpeg"),
    ("GET", "/v1/decoder.onnx"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/v1/stream"),
    ("POST", "/v1/segment"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/embeddings/x/masks"),
    ("GET", "/v1/embeddings/x"),
    ("DELETE", "/v1/embeddings/x"),
    ("GET", "/nothing"),
    ("OPTIONS", "/v1/info"),
]


def test_without_the_token_nothing_answers_but_401(segmenter: Segmenter) -> None:
    basic = base64.b64encode(b"me:wrong").decode()
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Digest {TOKEN}"},
        {"Authorization": "Basic \u00ff"},
        {"Authorization": f"Basic {basic}"},
        {"Cookie": f"{COOKIE}=wrong"},
        {"Cookie": f"{COOKIE}="},
        {"Cookie": f"{COOKIE}={TOKEN}"},
    ]

    async def test() -> None:
        async with serving(segmenter, token=TOKEN) as service:
            for method, path in PATHS:
                for headers in wrong:
                    async with service.http.request(method, path, headers=headers, data=b"{}") as answer:
                        assert answer.status == 401, (method, path, headers)
                        assert "WWW-Authenticate" in answer.headers

            async with service.http.get("/v1/info", headers={"Sec-Fetch-Mode": "cors"}) as answer:
                assert answer.status == 401
                # The page asks for the token, not the browser beside it.
                assert "WWW-Authenticate" not in answer.headers

    run(test)


def test_the_token_opens_as_bearer_as_password_and_as_the_page_s_cookie(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, token=TOKEN) as service:
            basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
            for given_as in (f"Bearer {TOKEN}", f"Basic {basic}"):
                async with service.http.get("/v1/info", headers={"Authorization": given_as}) as answer:
                    assert answer.status == 200
            cookie = {"Cookie": f"{COOKIE}={service.context.gate.cookie()}"}
            async with service.http.get("/v1/info", headers=cookie) as answer:
                assert answer.status == 200
            async with service.http.ws_connect("/v1/stream", headers=cookie) as socket:
                await message(socket, "hello")

    run(test)


@pytest.mark.skipif(not (FOLDER / "index.html").is_file(), reason="the page is not there")
def test_the_page_sets_the_cookie_and_keeps_others_out(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, token=TOKEN) as service:
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            async with service.http.get("/", headers=bearer) as answer:
                assert answer.status == 200
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                cookie = answer.cookies[COOKIE]
                assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
                assert TOKEN not in cookie.value

    run(test)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "file://x"]
)
def test_other_sites_pages_are_refused(segmenter: Segmenter, origin: str) -> None:
    async def test() -> None:
        async with serving(segmenter, origins=("https://cam.example",)) as service:
            for good in (service.url, "https://cam.example"):
                async with service.http.ws_connect("/v1/stream", headers={"Origin": good}) as socket:
                    await message(socket, "hello")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await service.http.ws_connect("/v1/stream", headers={"Origin": origin})
            assert refused.value.status == 403
            async with service.http.post("/v1/segment", headers={"Origin": origin}) as answer:
                assert answer.status == 403
                assert "Access-Control-Allow-Origin" not in answer.headers

    run(test)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[", ""])
def test_without_a_token_names_that_point_here_are_refused(segmenter: Segmenter, host: str) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            async with service.http.get("/v1/frame.jpg", headers={"Host": host}) as answer:
                assert answer.status in (400, 421)
            for good in ("localhost:8080", "127.0.0.1", "[::1]:80"):
                async with service.http.get("/v1/info", headers={"Host": good}) as answer:
                    assert answer.status == 200

    run(test)


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fpyproject.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/v1/embeddings/..%2f..%2fetc%2fpasswd",
        "/index.html/../../__init__.py",
        "/%00",
        "/\\..\\x",
    ],
)
def test_no_path_reaches_the_file_system(segmenter: Segmenter, path: str) -> None:
    async def test() -> None:
        async with serving(segmenter) as service:
            answer = await raw(
                service, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            assert answer.split()[1] in (b"400", b"404")

    run(test)


def bomb(width: int, height: int) -> bytes:
    """A PNG that declares a size and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_bodies_that_are_too_much_or_no_image(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, max_body_bytes=20_000, max_image_pixels=100_000) as service:
            for body, kind, status in (
                (b"x" * 20_001, "image/png", 413),
                (bomb(30_000, 30_000), "image/png", 422),
                (bomb(400, 300), "image/png", 422),
                (jpeg((400, 300)), "image/jpeg", 422),
                (jpeg()[:200], "image/jpeg", 422),
                (b"", "image/jpeg", 422),
                (b"GIF89a", "image/gif", 422),
                (jpeg(), "text/plain", 415),
                (b"[]", "application/json", 422),
                (b'{"image": 5}', "application/json", 422),
                (b"{" * 10_000, "application/json", 422),
            ):
                async with service.http.post(
                    "/v1/embeddings", data=body, headers={"Content-Type": kind}
                ) as answer:
                    text = await answer.text()
                    assert answer.status == status, (kind, text)
                    assert set(json.loads(text)["error"]) == {"code", "what", "hint"}
                    assert "Traceback" not in text
            async with service.http.post(
                "/v1/embeddings", data=chunks(), headers={"Content-Type": "image/png"}
            ) as answer:
                assert answer.status == 413
            packed = {"Content-Type": "image/png", "Content-Encoding": "deflate"}
            async with service.http.post(
                "/v1/embeddings", data=zlib.compress(bytes(10**6)), headers=packed
            ) as a:
                assert a.status == 415
            prompts = {"prompts": [{"points": [[1, 1, 1]]}] * 33}
            async with service.http.post("/v1/segment", json=prompts) as answer:
                assert answer.status == 422
            assert len(service.context.engine.store) == 0

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 1000

    run(test)


BODIES = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 600).map(lambda cut: jpeg()[:cut]),
    st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=8)).map(
        lambda at: jpeg()[: at[0]] + at[1] + jpeg()[at[0] + len(at[1]) :]
    ),
)


KINDS = ["image/jpeg", "multipart/form-data; boundary=x"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(BODIES, min_size=1, max_size=8), st.sampled_from(["image/jpeg", "multipart/form-data; boundary=x"])
)
def test_any_body_has_an_answer(segmenter: Segmenter, bodies: list[bytes], kind: str) -> None:
    async def test() -> None:
        path = "/v1/embeddings" if kind.startswith("image") else "/v1/segment"
        async with serving(segmenter) as service:
            for body in bodies:
                framed = body if kind.startswith("image") else form(body)
                async with service.http.post(path, data=framed, headers={"Content-Type": kind}) as answer:
                    assert answer.status in (200, 201, 422), await answer.text()

    run(test)


def form(body: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + body + b"\r\n--x--\r\n"


def test_who_sends_no_request_or_no_body_is_cut_off(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, head_timeout_s=0.2, body_timeout_s=0.2) as service:
            for beginning in (b"", b"GET /v1/info HT", b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nX: "):
                assert await raw(service, beginning) == b""
            head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            answer = await raw(service, head + b"Content-Length: 1000\r\n\r\nabc")
            assert b" 408 " in answer
            # A connection that was of use, and is idle since.
            answer = await raw(service, b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in answer
            await until(lambda: len(service.context.connections) == 0)

    run(test)


def test_idle_connections_make_room(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, max_connections=20) as service:
            idle = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(60)]
            async with service.http.get("/v1/info") as answer:
                assert answer.status == 200
            assert len(service.context.connections) <= 20
            for _, writer in idle:
                writer.close()

    run(test)


def test_too_many_requests_and_clients(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, max_requests_per_s=2.0, max_clients=1, max_previews=1) as service:
            seen = set()
            for _ in range(6):
                async with service.http.post("/v1/segment", json={}) as answer:
                    seen.add(answer.status)
            assert seen == {422, 429}
            async with service.http.ws_connect("/v1/stream") as socket:
                await message(socket, "hello")
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await service.http.ws_connect("/v1/stream")
                assert refused.value.status == 503
            preview = "/v1/preview.mjpeg"
            async with service.http.get(preview), service.http.get(preview) as answer:
                assert answer.status == 503

    run(test)


def test_who_takes_nothing_is_cut_off(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with serving(segmenter, stall_timeout_s=0.2) as service:
            await service.ready()
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
            head = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            writer.write((head + key).encode())
            await reader.readuntil(b"\r\n\r\n")
            # Its buffer of 1024 bytes is full soon, and nobody empties it.
            (viewer,) = service.context.hub.viewers()
            for _ in range(200):
                viewer.outbox.newest("frame", bytes(1_000_000))
                await asyncio.sleep(0)
                if service.context.connections.stalled:
                    break
                await asyncio.sleep(0.01)
            assert service.context.connections.stalled == 1
            await until(lambda: service.context.clients == 0)
            writer.close()

    run(test)


async def raw(service: Running, request: bytes) -> bytes:
    """What comes back for some bytes, until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(request)
    found = bytearray()
    try:
        while chunk := await asyncio.wait_for(reader.read(4096), PATIENCE_S):
            found += chunk
    except ConnectionError:
        pass
    writer.close()
    return bytes(found)


def test_the_page_s_files_are_those_of_the_folder() -> None:
    from sam_edge.service.page import Page

    assert all((FOLDER / path[1:]).is_file() for path in Page().paths)
    assert Page(Path("/nowhere")).paths == ()
