"""Two devices and a consumer, each a process of its own, on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco

from tests.streaming.zenoh.peers import Heard, free_endpoint, peer

pytest.importorskip("zenoh")
ROOT = Path(__file__).parents[3]
Start = Callable[[str, str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a device; what still runs at the end is killed."""
    with ExitStack() as running:

        def run(device: str, endpoint: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"tests.streaming.zenoh.{device}", endpoint]
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT))
            running.callback(process.kill)
            return process

        yield run


def is_fresh(line: dict[str, Any]) -> bool:
    return (line["status"], line["freshness"]) == ("mask", "fresh")


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
        told = status.wait(lambda told: told["frame_age_ms"] > 500)
        assert told["state"] == "running"
        start("glasses", endpoint)
        masks.wait(is_fresh)

        robot.kill()
        robot.wait()
        start("robot", endpoint)
        # It counts its frames from 0 again.
        masks.wait(lambda line: is_fresh(line) and line["frame"] < told["frames"])
