"""Cameras at this machine, through Video4Linux: 0, /dev/video0?size=1280x720&fps=30&format=YUYV."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import cv2

from sam_edge.errors import InputError
from sam_edge.streaming.sources.capture import Capture
from sam_edge.streaming.sources.live.camera import CameraSource, Picture, now_ns
from sam_edge.streaming.sources.live.pixels import JPEG, LAYOUTS, opencv_to_rgb, raw_to_rgb
from sam_edge.streaming.sources.live.reconnect import Reconnecting
from sam_edge.streaming.sources.options import read_fps, read_size, split_options

FORMATS = {"YUYV": "YUYV", "UYVY": "UYVY", "NV12": "NV12", "GREY": "GREY", "GRAY": "GREY", "MJPEG": "MJPG"}
"""What the option `format` may be, and the device's code for it."""
BUFFERS = 2
"""One is filled while the other is read. OpenCV's four would hold old frames."""


class V4l2Camera:
    """An open device; see `Camera`."""

    on_host_clock = True

    def __init__(self, name: str, capture: Capture, options: Mapping[str, str]) -> None:
        """Set what the options ask for; what the device has instead becomes a note.

        Raises:
            InputError: the device has not the format.
        """
        self.name = name
        self.lost_frames = 0
        self._capture = capture
        capture.set(cv2.CAP_PROP_BUFFERSIZE, BUFFERS)
        wanted, size, fps = FORMATS.get(options.get("format", "").upper()), *_numbers(options, name)
        if wanted:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted))
        if size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if fps:
            capture.set(cv2.CAP_PROP_FPS, fps)
        self._code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
        if wanted and self._code != wanted:
            raise InputError(
                f"{name} has no format {options['format']}, it gives {self._code}",
                hint="v4l2-ctl --list-formats-ext lists what it has",
            )
        self._wh = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = capture.get(cv2.CAP_PROP_FPS)
        # The frame's own bytes: one conversion to RGB, and not to BGR before.
        self._raw = self._code in JPEG | LAYOUTS.keys() and capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self.notes = tuple(_differences(name, size, self._wh, fps, self.fps))

    def read(self) -> Picture | None:
        while (data := self._capture.read()) is not None:
            receive_ns = now_ns()
            stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6) or None
            try:
                rgb = raw_to_rgb(data, self._code, self._wh, self.name) if self._raw else opencv_to_rgb(data)
            except InputError:
                self.lost_frames += 1
                continue
            return Picture(rgb, receive_ns, stamp_ns)
        return None

    def close(self) -> None:
        self._capture.close()


def open_v4l2(name: str, *, rate_hz: float | None = None) -> Reconnecting:
    """The camera with a number or device file, opened again when it comes back after it was unplugged.

    Options: size (WIDTHxHEIGHT), fps, format (one of FORMATS).

    Raises:
        InputError: no such device, it cannot be opened, or an option is wrong.
    """
    base, options = split_options(name, ("size", "fps", "format"))
    if rate_hz is not None:
        raise InputError(f"{name} has a rate of its own", hint="leave --rate out, or give ?fps=")
    if options.get("format", "YUYV").upper() not in FORMATS:
        raise InputError(
            f"{name}: unknown format {options['format']}", hint=f"choose one of {', '.join(FORMATS)}"
        )
    _numbers(options, name)
    device = f"/dev/video{int(base)}" if base.isdecimal() else base
    return Reconnecting(device, lambda: CameraSource(_open(device, options)))


def _open(device: str, options: Mapping[str, str]) -> V4l2Camera:
    _check_device(device)
    capture = Capture(device, cv2.CAP_V4L2)
    if not capture.is_open:
        raise InputError(f"{device} cannot be opened as a camera", hint="close other programs that use it")
    try:
        return V4l2Camera(device, capture, options)
    except BaseException:
        capture.close()
        raise


def _check_device(device: str) -> None:
    """OpenCV tells no reasons.

    Raises:
        InputError: there is no such device, or it is not the user's.
    """
    if not Path(device).exists():
        others = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
        raise InputError(
            f"there is no camera {device}", hint=f"there are {others}" if others else "plug one in"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise InputError(f"{device} may not be opened", hint="add your user to the group video")


def _numbers(options: Mapping[str, str], name: str) -> tuple[tuple[int, int] | None, float | None]:
    return read_size(options, name), read_fps(options, name)


def _differences(
    name: str, size: tuple[int, int] | None, given_wh: tuple[int, int], fps: float | None, given_fps: float
) -> list[str]:
    notes = []
    if size and size != given_wh:
        notes.append(f"{name} has no size {size[0]}x{size[1]}: it gives {given_wh[0]}x{given_wh[1]}")
    if fps and abs(given_fps - fps) > 0.01 * fps:
        notes.append(f"{name} has no rate of {fps:g} frames/s: it gives {given_fps:g}")
    return notes
