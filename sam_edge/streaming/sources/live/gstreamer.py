"""GStreamer pipelines: gst:PIPELINE, and csi://0 for a camera at a Jetson's connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

import cv2

from sam_edge.errors import InputError
from sam_edge.imaging.opencv_build import find_build
from sam_edge.streaming.sources.capture import Capture
from sam_edge.streaming.sources.live.camera import CameraSource
from sam_edge.streaming.sources.live.opencv import OpenCvCamera
from sam_edge.streaming.sources.live.reconnect import Reconnecting
from sam_edge.streaming.sources.options import read_fps, read_size, split_options

SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
"""Ends a pipeline: the newest frame waits, the others are dropped."""
CSI_WH = (1280, 720)
CSI_FPS = 30.0
FLIPS = 8
"""nvvidconv's flip-method is below it."""


def open_gstreamer(name: str, *, rate_hz: float | None = None) -> Reconnecting:
    """The frames of a pipeline, started again when it ends or fails.

    Raises:
        InputError: a wrong address, an OpenCV without GStreamer, or a pipeline that does not start.
    """
    pipeline = pipeline_text(name)
    assert pipeline is not None
    if rate_hz is not None:
        raise InputError(f"{name} has a rate of its own", hint="leave --rate out")
    return Reconnecting(_short(name), lambda: CameraSource(_start(name, pipeline)))


def pipeline_text(name: str) -> str | None:
    """The pipeline that an address stands for, as gst-launch-1.0 takes it; None for other addresses.

    `gst:PIPELINE` is taken as it is, with an appsink added where it has none. `csi://N?size=1280x720&fps=30&flip=0`
    is the camera N of nvarguscamerasrc; flip is nvvidconv's flip-method.

    Raises:
        InputError: a wrong address.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "csi":
        return _csi_pipeline(name)
    if scheme != "gst":
        return None
    pipeline = rest.strip().rstrip("!").rstrip()
    if not pipeline:
        raise InputError("gst: names no pipeline", hint="give gst:PIPELINE, such as 'gst:videotestsrc'")
    return pipeline if re.search(r"\bappsink\b", pipeline) else f"{pipeline} ! {SINK}"


def _csi_pipeline(name: str) -> str:
    base, options = split_options(name, ("size", "fps", "flip"))
    number = base.removeprefix("csi:").removeprefix("//")
    if not (number.isascii() and number.isdecimal()):
        raise InputError(f"{name} names no camera", hint="give csi://0")
    width, height = read_size(options, name) or CSI_WH
    fps = read_fps(options, name) or CSI_FPS
    rate = Fraction(fps).limit_denominator(1001)
    caps = f"width={width},height={height},framerate={rate.numerator}/{rate.denominator}"
    return (
        f"nvarguscamerasrc sensor-id={int(number)} ! video/x-raw(memory:NVMM),format=NV12,{caps} ! "
        f"nvvidconv flip-method={_flip(options, name)} ! video/x-raw,format=BGRx ! {SINK}"
    )


def _flip(options: Mapping[str, str], name: str) -> int:
    text = options.get("flip", "0")
    if text not in map(str, range(FLIPS)):
        raise InputError(
            f"{name}: flip={text} is unknown", hint=f"give 0 to {FLIPS - 1}, as nvvidconv's flip-method"
        )
    return int(text)


def _start(name: str, pipeline: str) -> OpenCvCamera:
    if not find_build().gstreamer:
        raise InputError(
            f"{_short(name)} needs an OpenCV with GStreamer, and that of pip has none",
            hint="apt install python3-opencv, make the environment with --system-site-packages, and "
            "pip uninstall opencv-python-headless there",
        )
    capture = Capture(pipeline, cv2.CAP_GSTREAMER)
    if not capture.is_open:
        raise InputError(f"the pipeline does not start: {pipeline}", hint="try it with gst-launch-1.0")
    return OpenCvCamera(_short(name), capture)


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."
