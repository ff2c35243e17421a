"""Two devices and a consumer, each a process of its own, on loopback."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sam_edge.streaming.sinks.threaded import ThreadedSink
from tests.streaming.sinks.made import part, result
from tests.streaming.zenoh.peers import Heard, free_endpoint, peer

pytest.importorskip("zenoh")
ROOT = Path(__file__).parents[3]
WH = (1280, 720)
FRAMES = 40
BEFORE_CUT_S = 4.0
"""Zenoh itself cuts off who takes nothing, after 5 s: until then nobody may wait."""
Start = Callable[[str, str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a device; what still runs at the end is killed."""
    with ExitStack() as running:

        def run(device: str, endpoint: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"tests.streaming.zenoh.{device}", endpoint]
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
            running.callback(process.kill)
            return process

        yield run


def is_fresh(line: dict[str, Any]) -> bool:
    return (line["status"], line["freshness"]) == ("mask", "fresh")


def is_of(frame: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: bool(line["frame"] == frame)


@pytest.mark.slow
def test_masks_come_again_when_either_device_was_cut_off(start: Start) -> None:
    endpoint = free_endpoint()
    robot, glasses = start("robot", endpoint), start("glasses", endpoint)
    with peer(connect=endpoint) as session:
        masks, status = Heard(session, "robot/mask"), Heard(session, "robot/status")
        line = masks.wait(is_fresh)
        assert line["v"] == 1
        assert (line["x_px"], line["y_px"]) == pytest.approx((0.4 * 256, 0.5 * 128), abs=1)
        assert coco.decode(line["mask"]["rle"])[64, 102] == 1
        # Both clocks are those of this machine.
        assert 0 <= line["t_unix_ns"] - line["frame_unix_ns"] + 10**9 < 3 * 10**9

        glasses.kill()
        told = status.wait(lambda told: (told["frame_age_ms"] or 0) > 500)
        assert told["state"] == "running"
        masks.forget()
        start("glasses", endpoint)
        masks.wait(is_fresh)

        robot.kill()
        robot.wait()
        masks.forget()
        start("robot", endpoint)
        # It counts its frames from 0 again.
        masks.wait(lambda line: is_fresh(line) and line["frame"] < told["frames"])


def test_a_consumer_that_stalls_holds_up_nobody_else(start: Start) -> None:
    endpoint = free_endpoint()
    noise = np.random.default_rng(0).integers(0, 255, (*WH[::-1], 3), np.uint8)
    with (
        ThreadedSink(f"zenoh:robot?listen={endpoint}&fps=30", WH, 30.0) as sink,
        peer(connect=endpoint) as session,
    ):
        masks, frames = Heard(session, "robot/mask"), Heard(session, "robot/frame")
        stalled = start("watcher", endpoint)
        assert stalled.stdout is not None
        assert stalled.stdout.readline() == b"listening\n"
        stalled.send_signal(signal.SIGSTOP)
        # Of noise: more than what fits into the buffers of the connection.
        index = 0
        while len(frames.samples) < FRAMES:
            index += 1
            now_ns = monotonic_ns()
            made = part(index, [result(now_ns)])
            sink.write(
                replace(made, frame=replace(made.frame, image=noise, capture_ns=now_ns, receive_ns=now_ns))
            )
            masks.wait(is_of(index), BEFORE_CUT_S)
        assert sink.lost == 0
        stalled.kill()
