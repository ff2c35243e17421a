"""How long gaze and masks are on their way from one process to another, over Zenoh on loopback.

python -m sam_edge.benchmarks.speed.streaming.zenoh [--size WxH] [--rate HZ] [--seconds S] [--json]

Gaze: from the sender's clock to the sample in the hand of who iterates. Mask: from the moment a sink gets a
result to the parsed JSON, with the run lengths that are made in between. A mask covers a disc of a third of the
frame's height. Processes on one machine share its monotonic clock.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count, islice
from multiprocessing import get_context
from time import monotonic, monotonic_ns, sleep

import click
import cv2
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.cli.options import FiniteRange, parse_size
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.masks import Masks
from sam_edge.streaming.gaze.live.zenoh import open_zenoh_gaze
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.zenoh import zenoh_sink
from sam_edge.streaming.slot import Slot
from sam_edge.streaming.sources.source import Frame
from sam_edge.streaming.zenoh.address import parse_zenoh
from sam_edge.streaming.zenoh.messages import gaze_message
from sam_edge.streaming.zenoh.session import subscribed, zenoh_session

WARM = 50
"""So many first messages are not counted."""
MAX_MASK = 1 << 20
"""Bytes of a message with a mask."""
LONGEST_S = 60.0
"""So long the first message may take: the other process has to start."""


def measure(frame_wh: tuple[int, int], rate_hz: float, seconds: float) -> dict[str, dict[str, float]]:
    """Latencies of `gaze` and `mask` messages at a rate: ms `p50`, `p99`, `largest`, their `messages` and
    `bytes`."""
    wanted = max(1, round(rate_hz * seconds))
    gaze_ms = list(islice(_gaze_ms(rate_hz), WARM + wanted))[WARM:]
    sizes, mask_ms = zip(*list(islice(_masks_ms(frame_wh, rate_hz), WARM + wanted))[WARM:], strict=True)
    return {
        "gaze": _summed(gaze_ms, len(gaze_message(0.5, 0.5))),
        "mask": _summed(mask_ms, float(np.median(sizes))),
    }


def _summed(values_ms: list[float] | tuple[float, ...], size: float) -> dict[str, float]:
    p50, p99 = np.percentile(values_ms, (50, 99))
    largest = max(values_ms)
    return {"p50": float(p50), "p99": float(p99), "largest": largest, "messages": len(values_ms), "bytes": size}


def _gaze_ms(rate_hz: float) -> Iterator[float]:
    endpoint = _free_endpoint()
    with (
        closing(open_zenoh_gaze(f"zenoh:bench?listen={endpoint}")) as tracker,
        _sending(_gaze, endpoint, rate_hz),
    ):
        for sample in tracker:
            yield (monotonic_ns() - sample.t_ns) / 1e6


def _masks_ms(frame_wh: tuple[int, int], rate_hz: float) -> Iterator[tuple[int, float]]:
    endpoint = _free_endpoint()
    address, _ = parse_zenoh(f"zenoh:bench?listen={endpoint}")
    slot: Slot[bytes] = Slot()
    with (
        zenoh_session(address) as session,
        subscribed(session, address.key("mask"), lambda payload, *_: slot.put(payload), lambda: None, MAX_MASK),
        _sending(_masks, endpoint, rate_hz, frame_wh),
    ):
        while (payload := slot.take(LONGEST_S)) is not None:
            line = json.loads(payload)
            yield len(payload), (monotonic_ns() - line["t_unix_ns"] + line["unix_offset_ns"]) / 1e6
    raise InputError("no mask came", hint="does the firewall keep loopback shut?")


@contextmanager
def _sending(send: Callable[..., None], *args: object) -> Iterator[None]:
    # A fork would copy Zenoh's session without its threads.
    process = get_context("spawn").Process(target=send, args=args, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _gaze(endpoint: str, rate_hz: float) -> None:
    """The process that looks."""
    with zenoh_session(parse_zenoh(f"zenoh:bench?connect={endpoint}")[0]) as session:
        publisher = session.declare_publisher("bench/gaze", express=True)
        for _ in _ticks(rate_hz):
            publisher.put(gaze_message(0.4, 0.5))


def _masks(endpoint: str, rate_hz: float, frame_wh: tuple[int, int]) -> None:
    """The process that masks."""
    width, height = frame_wh
    logits = np.full((1, 256, 256), -4, np.float32)
    cv2.ellipse(logits[0], (128, 128), (128 * height // (3 * width), 128 // 3), 0, 0, 360, 4.0, -1)
    view = View(frame_wh, (0, 0, *frame_wh), frame_wh, frame_wh)
    image = np.zeros((height, width, 3), np.uint8)
    with zenoh_sink(f"zenoh:bench?connect={endpoint}", frame_wh, rate_hz) as sink:
        for index in _ticks(rate_hz):
            # Resized anew each time, as the mask of each answer is.
            masks = Masks(logits, np.array([0.9], np.float32), view)
            now_ns = monotonic_ns()
            result = Result(now_ns, width / 2, height / 2, "mask", masks, "fresh")
            sink.write(FrameResult(Frame(image, index, now_ns, now_ns), None, (result,), True))


def _ticks(rate_hz: float) -> Iterator[int]:
    due_s = monotonic()
    for index in count():
        due_s = max(due_s + 1 / rate_hz, monotonic())
        sleep(max(0.0, due_s - monotonic()))
        yield index


def _free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{probe.getsockname()[1]}"


@click.command(cls=Benchmark)
@size_option
@click.option("--rate", type=FiniteRange(1, 1000), default=60.0, show_default=True, help="Messages a second.")
@click.option("--seconds", type=FiniteRange(1, 600), default=10.0, show_default=True, help="Of each kind.")
@json_option
def main(size: str, rate: float, seconds: float, as_json: bool) -> None:
    """Gaze and masks between two processes, over Zenoh on loopback."""
    found = measure(parse_size(size, "--size"), rate, seconds)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        click.echo(
            f"{name}: p50 {row['p50']:.2f} ms, p99 {row['p99']:.2f} ms, largest {row['largest']:.1f} ms "
            f"({row['messages']:.0f} messages of {row['bytes']:.0f} bytes)"
        )


if __name__ == "__main__":
    main()
