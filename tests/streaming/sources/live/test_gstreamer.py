"""GStreamer pipelines."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import imagesize
import pytest

from sam_edge.errors import InputError
from sam_edge.imaging.opencv_build import find_build
from sam_edge.streaming.sources.live.gstreamer import pipeline_text
from sam_edge.streaming.sources.source import open_source

ROOT = Path(__file__).parents[4]
PROGRAM = """
import json
from sam_edge.streaming.sources.source import open_source
source = open_source("gst:videotestsrc is-live=true pattern=red ! video/x-raw,width=64,height=48")
frames = [frame for frame, _ in zip(source, range(5))]
source.close()
print(json.dumps([frames[-1].image.shape, frames[-1].image[24, 32].tolist(), source.info.fps,
    all(a.capture_ns < b.capture_ns <= b.receive_ns for a, b in zip(frames, frames[1:]))]))
"""


def test_the_pipeline_of_a_jetson_camera() -> None:
    text = pipeline_text("csi://1?size=1920x1080&fps=60&flip=2")
    assert text is not None
    for word in ("sensor-id=1", "width=1920", "height=1080", "framerate=60/1", "flip-method=2", "appsink"):
        assert word in text


def test_a_pipeline_ends_in_a_sink_for_frames() -> None:
    own = "videotestsrc ! appsink sync=true"
    assert pipeline_text(f"gst:{own}") == own
    added = pipeline_text("gst: videotestsrc ! ")
    assert added is not None
    assert added.startswith("videotestsrc ! videoconvert !")
    assert "appsink" in added


def test_other_addresses_have_no_pipeline() -> None:
    assert pipeline_text("rtsp://camera/live") is None
    assert pipeline_text("0") is None


@pytest.mark.parametrize(
    "name", ["gst:", "gst: ! ", "csi://front", "csi://0?flip=8", "csi://0?size=1", "csi://-1"]
)
def test_a_wrong_address_is_named(name: str) -> None:
    with pytest.raises(InputError):
        pipeline_text(name)


@pytest.mark.skipif(find_build().gstreamer, reason="this OpenCV has GStreamer")
@pytest.mark.parametrize("name", ["gst:videotestsrc", "csi://0"])
def test_an_opencv_without_gstreamer_says_what_to_install(name: str) -> None:
    with pytest.raises(InputError, match="python3-opencv"):
        open_source(name)


def test_frames_come_through_the_systems_opencv(tmp_path: Path) -> None:
    """Debian's OpenCV has GStreamer; it belongs to the system's Python."""
    python = "/usr/bin/python3"
    probe = "import cv2; print('GStreamer:                   YES' in cv2.getBuildInformation())"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    found = subprocess.run([python, "-c", probe], env=clean, capture_output=True, text=True, check=False)
    if found.stdout.strip() != "True":
        pytest.skip("needs an OpenCV with GStreamer (apt install python3-opencv)")
    # The one other library that reading frames needs, in plain Python.
    (tmp_path / "imagesize").symlink_to(Path(imagesize.__file__).parent)
    done = subprocess.run(
        [python, "-c", PROGRAM],
        env={**clean, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shape, pixel, fps, rises = json.loads(done.stdout)
    assert (shape, fps, rises) == ([48, 64, 3], 30, True)
    assert pixel[0] > 200
    assert max(pixel[1:]) < 50
