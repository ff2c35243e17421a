"""What OpenCV was built with, and which copies of it are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import pytest

from sam_edge.imaging.opencv_build import find_build, read_build

# Of opencv-python 4.12, opencv-python-headless 5.0 and Ubuntu's python3-opencv.
WHEEL = """
  GUI:                           QT5
    QT:                          YES (ver 5.15.18 )
      QT OpenGL support:         NO
  Video I/O:
    FFMPEG:                      YES
      avcodec:                   YES (59.37.100)
    GStreamer:                   NO
"""
HEADLESS = """
  GUI:                           NONE
    VTK support:                 NO
  Video I/O:
    FFMPEG:                      YES
    GStreamer:                   NO
"""
SYSTEM = """
  GUI:                           GTK3
    GTK+:                        YES (ver 3.24.33)
      GThread :                  YES (ver 2.72.1)
  Video I/O:
    DC1394:                      YES (2.2.6)
    FFMPEG:                      NO
    GStreamer:                   YES (1.20.1)
"""
FOLDER = Path("/venv/site-packages/cv2")


@pytest.mark.parametrize(
    ("information", "gui", "gstreamer", "ffmpeg"),
    [
        (WHEEL, "QT5", False, True),
        (HEADLESS, None, False, True),
        (SYSTEM, "GTK3", True, False),
        ("", None, False, False),
    ],
)
def test_what_it_was_built_with(information: str, gui: str | None, gstreamer: bool, ffmpeg: bool) -> None:
    build = read_build(information, version="4", where=FOLDER)
    assert (build.gui, build.gstreamer, build.ffmpeg) == (gui, gstreamer, ffmpeg)
    assert build.problem is None


def test_two_distributions_overwrite_each_other() -> None:
    both = ["opencv-python-headless 4.12.0.88", "opencv-python 4.12.0.88"]
    build = read_build(HEADLESS, version="4.12.0", where=FOLDER, distributions=both)
    assert build.distributions == tuple(both)
    assert "opencv-python-headless and opencv-python overwrite" in (build.problem or "")


def test_a_copy_that_is_hidden_is_named(tmp_path: Path) -> None:
    places = [tmp_path / "wheel" / "cv2", tmp_path / "system" / "cv2"]
    for place in places:
        place.mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "wheel")
    copies = [*places, tmp_path / "linked" / "cv2"]
    build = read_build(HEADLESS, version="4", where=places[0], distributions=["opencv-python 4"], copies=copies)
    assert build.hidden == (str(places[1]),)
    assert f"hides the one in {places[1]}: to use that one, pip uninstall opencv-python" in (
        build.problem or ""
    )


def test_the_one_of_this_process(tmp_path: Path) -> None:
    (tmp_path / "wheel" / "cv2").mkdir(parents=True)
    (tmp_path / "debian").mkdir()
    module = tmp_path / "debian" / "cv2.cpython-310-x86_64-linux-gnu.so"
    module.touch()
    build = find_build([*sys.path, str(tmp_path / "wheel"), str(tmp_path / "debian")])
    assert build.version == cv2.__version__
    assert Path(build.where) == Path(cv2.__file__).parent
    assert {str(tmp_path / "wheel" / "cv2"), str(module)} <= set(build.hidden)
