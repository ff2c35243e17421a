"""Cameras at this machine: OpenCV's own Video4Linux code on a device that a preloaded library simulates."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.sources.live.pixels import raw_to_rgb
from sam_edge.streaming.sources.source import open_source

WH = (64, 48)
PROGRAM = """
import hashlib, json, sys
from sam_edge.errors import InputError
from sam_edge.streaming.sources.source import open_source
try:
    source = open_source(sys.argv[1])
except InputError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
frames = [frame for frame, _ in zip(source, range(int(sys.argv[2])))]
print(json.dumps({
    "shapes": sorted({frame.image.shape for frame in frames}),
    "pixels": sorted({hashlib.sha256(frame.image.tobytes()).hexdigest() for frame in frames}),
    "ages_ns": [frame.receive_ns - frame.capture_ns for frame in frames],
    "offsets_ns": sorted({frame.offset_ns for frame in frames}),
    "rises": all(a.capture_ns < b.capture_ns for a, b in zip(frames, frames[1:])),
    "wh": source.info.frame_wh, "fps": source.info.fps, "notes": source.info.notes,
    "reconnects": source.reconnects, "lost": source.lost_frames,
}))
source.close()
"""
Look = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bytes of a frame in each format of the camera."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(0)
    for code, size in (("YUYV", 64 * 48 * 2), ("NV12", 64 * 72), ("GREY", 64 * 48)):
        (folder / code).write_bytes(random.integers(0, 256, size, np.uint8).tobytes())
    picture = cv2.GaussianBlur(random.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 3)
    (folder / "MJPG").write_bytes(bytes(cv2.imencode(".jpg", picture)[1]))
    return folder


@pytest.fixture(scope="module")
def look(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Open the simulated camera by an address, in a process of its own, and read frames."""
    compiler = shutil.which("cc")
    library = tmp_path_factory.mktemp("device") / "device.so"
    source = Path(__file__).with_name("v4l2_device.c")
    if compiler is None:
        pytest.skip("needs a C compiler (apt install gcc libc6-dev)")
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True, check=False
    )
    if built.returncode != 0:
        pytest.skip(f"the simulated device does not compile here: {built.stderr.decode()[-300:]}")

    def run(
        address: str, count: int = 6, dies_after: int = 10**6, folder: Path = frames, program: str = PROGRAM
    ) -> dict[str, Any]:
        device = {"LD_PRELOAD": str(library), "CAMERA_FOLDER": str(folder), "CAMERA_FRAMES": str(dies_after)}
        done = subprocess.run(
            [sys.executable, "-c", program, address, str(count)],
            env={**os.environ, **device},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return dict(json.loads(done.stdout))

    return run


@pytest.mark.parametrize(
    ("option", "code"), [("", "YUYV"), ("nv12", "NV12"), ("GREY", "GREY"), ("MJPEG", "MJPG")]
)
def test_each_format_is_read_as_rgb(look: Look, frames: Path, option: str, code: str) -> None:
    seen = look(f"/dev/video77?format={option}" if option else "77")
    raw = np.frombuffer((frames / code).read_bytes(), np.uint8)
    expected = raw_to_rgb(raw, code, WH, "camera")
    assert seen["shapes"] == [[48, 64, 3]]
    assert seen["pixels"] == [hashlib.sha256(expected.tobytes()).hexdigest()]
    assert (tuple(seen["wh"]), seen["fps"], seen["lost"]) == (WH, 25, 0)


def test_times_are_those_of_the_driver(look: Look) -> None:
    seen = look("/dev/video77")
    assert seen["rises"]
    # The driver's clock is this machine's, in microseconds.
    assert seen["offsets_ns"] == [0]
    assert all(age_ns > 0 for age_ns in seen["ages_ns"])


def test_what_the_camera_gives_instead_is_noted(look: Look) -> None:
    notes = " ".join(look("/dev/video77?size=1280x720&fps=30")["notes"])
    assert "64x48" in notes
    assert "25" in notes
    assert look("/dev/video77?size=64x48&fps=25")["notes"] == []


def test_a_format_that_the_camera_lacks_is_an_error(look: Look) -> None:
    assert "YUYV" in look("/dev/video77?format=UYVY")["error"]


def test_a_camera_that_is_unplugged_is_opened_again(look: Look) -> None:
    seen = look("/dev/video77", count=10, dies_after=4)
    assert seen["reconnects"] >= 1
    assert seen["rises"]


def test_a_program_that_does_not_close_ends_all_the_same(look: Look) -> None:
    assert look("/dev/video77", program=PROGRAM.replace("source.close()", ""))["rises"]


def test_cut_off_frames_are_lost_and_nothing_hangs(look: Look, frames: Path, tmp_path: Path) -> None:
    shutil.copytree(frames, tmp_path, dirs_exist_ok=True)
    (tmp_path / "MJPG").write_bytes(b"no image")
    assert "77" in look("/dev/video77?format=MJPEG", dies_after=20, folder=tmp_path)["error"]


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="/dev/video4711"):
        open_source("4711")


def test_what_is_no_camera_is_named() -> None:
    with pytest.raises(InputError, match="/dev/v4l/"):
        open_source("/dev/v4l/../null")
