"""Encryption, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.service.scene import EndlessScene
from sam_edge.synthetic.scene import Scene
from tests.service.running import PATIENCE_S, message, run, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subject = ["-subj", "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    made = ["openssl", "req", *kind, *subject, "-keyout", key, "-out", cert]
    subprocess.run(made, check=True, capture_output=True)
    return cert, key


def test_it_speaks_tls_and_nothing_else_where_it_has_a_certificate(
    segmenter: Segmenter, certificate: tuple[str, str]
) -> None:
    async def test() -> None:
        cert, key = certificate
        async with serving(segmenter, tls_cert=cert, tls_key=key) as service:
            trusted = ssl.create_default_context(cafile=cert)
            url = f"https://127.0.0.1:{service.port}"
            async with aiohttp.ClientSession(url) as http:
                async with http.get("/v1/info", ssl=trusted) as answer:
                    assert answer.status == 200
                async with http.ws_connect("/v1/stream", ssl=trusted, headers={"Origin": url}) as socket:
                    await message(socket, "hello")
            with pytest.raises(aiohttp.ClientError):
                await service.http.get("/v1/info")

    run(test)


def test_a_certificate_that_is_none_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")

    async def test() -> None:
        with pytest.raises(InputError, match="cannot be used"):
            async with serving(segmenter, tls_cert=str(tmp_path / "cert.pem"), tls_key="/nowhere"):
                pass

    run(test)


def test_a_port_that_is_taken_is_named(segmenter: Segmenter) -> None:
    async def test() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(InputError, match=str(port)):
            async with serving(segmenter, port=port):
                pass
        server.close()

    run(test)


def test_clients_are_told_that_it_ends(segmenter: Segmenter) -> None:
    async def test() -> None:
        async with aiohttp.ClientSession() as http:
            async with serving(segmenter) as service:
                await service.ready()
                socket = await http.ws_connect(f"{service.url}/v1/stream")
                await message(socket, "hello")
            while (last := await socket.receive(PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert last.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

    run(test)


def test_the_scene_goes_there_and_back_without_a_jump() -> None:
    source = EndlessScene(Scene(width=64, height=48, duration_s=0.2))
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 13:
            source.close()
    assert [frame.index for frame in frames] == list(range(13))
    assert all(one.capture_ns < after.capture_ns for one, after in pairwise(frames))
    # 6 frames: 0 1 2 3 4 5 4 3 2 1 0 ...
    shown = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1, 2]
    assert [frame.image is frames[at].image for frame, at in zip(frames, shown, strict=True)] == [True] * 13
