"""What clients of `sam-edge serve` cost the one who points: gaze to mask, alone and under load.

python -m sam_edge.benchmarks.speed.streaming.service
    [--seconds S] [--viewers 20] [--prompters 10] [--prompts-per-s 50] [--json]

The service runs in its own process on the generated scene. One client sends gaze 60 times a second all the
time. Under load come viewers with frames and results, clients that prompt, one that takes nothing, and one that
sends as fast as it can. Clients run on the same cores, so they take from the service what they would not take
from another machine.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp
import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.cli.options import FiniteRange

GAZE_HZ = 60.0
SETTLE_S = 1.0
LARGE = 64 << 20
MISSING = 5.0
"""After the end, answers are waited for so many seconds."""


class Load:
    """Clients of one service, and what they saw."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http
        self.gaze_to_mask: list[float] = []
        self.seen: Counter[str] = Counter()

    async def point(self) -> None:
        """Send gaze, moving, and note how long each decoded mask took in the service."""
        async with self._http.ws_connect("/v1/stream", max_msg_size=LARGE) as socket:

            async def send() -> None:
                for number in range(10**9):
                    x_norm = 0.5 + 0.3 * np.sin(number / 60)
                    await socket.send_json({"type": "gaze", "x_norm": float(x_norm), "y_norm": 0.55})
                    await asyncio.sleep(1 / GAZE_HZ)

            sending = asyncio.create_task(send())
            try:
                async for message in socket:
                    told = message.json()
                    if told["type"] == "result" and "total" in told["stages_ms"]:
                        self.gaze_to_mask.append(told["stages_ms"]["total"])
            finally:
                sending.cancel()

    async def view(self) -> None:
        """Take frames and results."""
        async with self._http.ws_connect("/v1/stream", max_msg_size=LARGE) as socket:
            await socket.send_json({"type": "subscribe", "frames": 15})
            async for message in socket:
                self.seen["frames" if message.type is aiohttp.WSMsgType.BINARY else "texts"] += 1

    async def prompt(self, per_s: float, seconds: float) -> None:
        """Prompt, and count what is answered."""
        async with self._http.ws_connect("/v1/stream", max_msg_size=LARGE) as socket:
            await socket.send_json({"type": "subscribe", "results": False})
            left: set[int] = set()

            async def read() -> None:
                async for message in socket:
                    told = message.json()
                    if told["type"] in ("answer", "error"):
                        self.seen["answered" if told["type"] == "answer" else told["code"]] += 1
                        left.discard(told["id"])

            reading = asyncio.create_task(read())
            for number in range(round(per_s * seconds)):
                left.add(number)
                self.seen["prompts"] += 1
                await socket.send_json({"type": "prompt", "id": number, "points": [[320, 200, 1]]})
                await asyncio.sleep(1 / per_s)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_empty(left), MISSING)
            self.seen["lost"] += len(left)
            reading.cancel()

    async def flood(self) -> None:
        """Send as fast as it goes."""
        async with self._http.ws_connect("/v1/stream", max_msg_size=LARGE) as socket:
            reading = asyncio.create_task(_read_all(socket))
            try:
                while not socket.closed:
                    await socket.send_json({"type": "gaze", "x_px": 1, "y_px": 1})
                    self.seen["flooded"] += 1
                    await asyncio.sleep(0)
            finally:
                reading.cancel()

    async def stall(self) -> None:
        """Ask for everything, and take nothing."""
        socket = await self._http.ws_connect("/v1/stream", max_msg_size=LARGE)
        await socket.send_json({"type": "subscribe", "frames": 60, "embeddings": "float32"})
        await asyncio.sleep(10**6)

    async def resident_mb(self) -> float:
        """Memory of the service."""
        async with self._http.get("/metrics") as answer:
            text = await answer.text()
        (line,) = [one for one in text.splitlines() if one.startswith("process_resident_memory_bytes ")]
        return float(line.split()[1]) / 1e6


async def _read_all(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


async def _empty(left: set[int]) -> None:
    while left:
        await asyncio.sleep(0.01)


async def measure(
    url: str, seconds: float, viewers: int, prompters: int, prompts_per_s: float
) -> dict[str, Any]:
    """Gaze to mask in ms, alone and under load; memory; and what became of the prompts."""
    async with aiohttp.ClientSession(url) as http:
        load = Load(url, http)
        pointing = asyncio.create_task(load.point())
        await asyncio.sleep(SETTLE_S)
        load.gaze_to_mask.clear()
        await asyncio.sleep(seconds)
        alone, alone_mb = list(load.gaze_to_mask), await load.resident_mb()
        others = [asyncio.create_task(load.view()) for _ in range(viewers)]
        others += [asyncio.create_task(load.flood()), asyncio.create_task(load.stall())]
        prompts = [asyncio.create_task(load.prompt(prompts_per_s, seconds)) for _ in range(prompters)]
        await asyncio.sleep(SETTLE_S)
        load.gaze_to_mask.clear()
        begin_mb = await load.resident_mb()
        await asyncio.sleep(max(0.0, seconds - SETTLE_S))
        loaded, loaded_mb = list(load.gaze_to_mask), await load.resident_mb()
        await asyncio.gather(*prompts)
        for task in (pointing, *others):
            task.cancel()
        await asyncio.gather(pointing, *others, return_exceptions=True)
    return {
        "alone_ms": _summary(alone),
        "loaded_ms": _summary(loaded),
        "resident_mb": {"alone": alone_mb, "load_begins": begin_mb, "load_ends": loaded_mb},
        "seen": dict(load.seen),
    }


def _summary(took_ms: list[float]) -> dict[str, float]:
    if not took_ms:
        return {"masks": 0}
    p50, p99 = np.percentile(took_ms, (50, 99)).tolist()
    return {"masks": len(took_ms), "p50": round(p50, 1), "p99": round(p99, 1)}


@click.command(cls=Benchmark)
@click.option("--seconds", type=FiniteRange(2), default=8.0, show_default=True, help="Of each part.")
@click.option("--viewers", type=click.IntRange(0, 25), default=20, show_default=True)
@click.option("--prompters", type=click.IntRange(0, 25), default=10, show_default=True)
@click.option("--prompts-per-s", type=FiniteRange(0.1), default=50.0, show_default=True, help="Of each.")
@json_option
def main(seconds: float, viewers: int, prompters: int, prompts_per_s: float, as_json: bool) -> None:
    """Gaze to mask of `sam-edge serve`, alone and under load."""
    command = [sys.executable, "-m", "sam_edge", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None, "it is a pipe"
        url = next(line.split()[2].rstrip("/") for line in service.stderr if "serving on" in line)
        try:
            found = asyncio.run(measure(url, seconds, viewers, prompters, prompts_per_s))
        finally:
            service.terminate()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for part in ("alone_ms", "loaded_ms", "resident_mb", "seen"):
        click.echo(f"{part}: " + ", ".join(f"{name} {value}" for name, value in found[part].items()))


if __name__ == "__main__":
    main()
