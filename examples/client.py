"""A client of `sam-edge serve`: it points at a place, prints what it is told of the mask, and asks once more.

sam-edge serve &
python examples/client.py http://127.0.0.1:8080 --at 0.5 0.55 --seconds 5

The token, where the service wants one, stands in the environment: SAM_EDGE_TOKEN. Needs aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import time
from typing import Any

import aiohttp

GAZE_HZ = 30
MESSAGE_BYTES = 64 << 20


def parse_binary(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a binary message: the header's length, the header, the payload."""
    (length,) = struct.unpack_from("<I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


class Client:
    """A WebSocket of the service, and what came over it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.results: asyncio.Queue[dict[str, Any]] = asyncio.Queue(8)
        self.frames = 0

    async def read(self) -> None:
        """Take everything that comes, until the service ends."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                header, _jpeg = parse_binary(message.data)
                self.frames += header["type"] == "frame"
                continue
            told = message.json()
            waiting = self._asked.pop(told.get("id"), None)
            if waiting is not None:
                waiting.set_result(told)
            elif told["type"] == "result":
                if self.results.full():
                    self.results.get_nowait()  # the newest counts
                self.results.put_nowait(told)
            elif told["type"] == "error":
                print(f"error: {told['what']}")

    async def say(self, kind: str, **fields: Any) -> None:
        """Send something that is not answered."""
        await self._socket.send_json({"v": 1, "type": kind, **fields})

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send something, and wait for its answer."""
        number = time.monotonic_ns() // 1000
        self._asked[number] = asyncio.get_running_loop().create_future()
        await self.say(kind, id=number, **fields)
        return await asyncio.wait_for(self._asked[number], 10)


async def look(client: Client, at: tuple[float, float], seconds: float) -> None:
    """Point at a place for a while, as an eye tracker would, and print the masks."""

    async def point() -> None:
        while True:
            await client.say("gaze", x_norm=at[0], y_norm=at[1])
            await asyncio.sleep(1 / GAZE_HZ)

    pointing = asyncio.create_task(point())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        result = await asyncio.wait_for(client.results.get(), 10)
        mask = result["mask"]
        if mask is not None and not result["reused"]:
            print(
                f"frame {result['frame']}: {mask['area']} px, IoU {mask['predicted_iou']:.2f}, "
                f"{result['freshness']}, pixels {result['embedding_age_ms']:.0f} ms old"
            )
    pointing.cancel()


async def main(url: str, at: tuple[float, float], seconds: float) -> None:
    token = os.environ.get("SAM_EDGE_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        socket = await http.ws_connect("/v1/stream", max_msg_size=MESSAGE_BYTES)
        async with socket:
            client = Client(socket)
            reading = asyncio.create_task(client.read())
            await client.ask("subscribe", results=True, masks="rle", frames=5)
            await look(client, at, seconds)
            frozen = await client.ask("freeze")
            width, height = frozen["frame_wh"]
            point = [at[0] * width, at[1] * height, 1]
            answer = await client.ask("prompt", points=[point], embedding=frozen["embedding"])
            print(
                f"frozen: masks of {[mask['area'] for mask in answer['masks']]} px; {client.frames} frames came"
            )
            reading.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--at", nargs=2, type=float, default=(0.5, 0.55), metavar=("X", "Y"))
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    asyncio.run(main(given.url, tuple(given.at), given.seconds))
