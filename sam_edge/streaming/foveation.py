"""Which part of the frame is encoded: all of it, or a window round what the eye rests on.

A window of a third of the frame's side shows a small object at three times the resolution, for the same work.
It has the frame's aspect, so that the encoder's input keeps its size and no engine compiles anything. Which
window is worth it was measured (docs/measurements.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.masks import OUTSIDE, Masks
from sam_edge.segmenter import Segmenter

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the frame."""
Window = tuple[int, int, int, int]
"""Left, top, width, height in whole pixels of the frame."""
ASPECT_TRIES = 32
"""Widths that are looked at for one whose height in the frame's aspect is nearly whole."""


@dataclass(frozen=True)
class FoveationConfig:
    """When a window is encoded, and which. Shares are of the frame's side."""

    largest: float = 0.75
    """An object that needs more than this share is left to the whole frame. 0: never a window."""
    smallest: float = 0.5
    """No window is smaller."""
    fill: float = 0.4
    """The object's share of the window, so that what is round it is seen too."""
    outgrown: float = 0.8
    """Above this share of the window, or cut off by it, an object has outgrown it."""
    inner: float = 0.6
    """While the gaze is inside this share of the window, round its middle, the window stays."""

    def __post_init__(self) -> None:
        for name in ("largest", "smallest", "fill", "outgrown", "inner"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"foveation's {name} is {getattr(self, name)}", hint="give 0 to 1")
        if not 0 < self.fill <= self.outgrown:
            raise InputError(
                f"foveation's fill of {self.fill} is not above 0 and up to outgrown, {self.outgrown}",
                hint="a new window must not be outgrown at once",
            )


def choose_window(
    frame_wh: tuple[int, int],
    point_px: tuple[float, float] | None,
    previous: Window | None,
    object_px: Box | None,
    config: FoveationConfig = FoveationConfig(),
) -> Window | None:
    """The window to encode next; None: the whole frame.

    The window before stays until the gaze leaves its inner part or the object outgrows it. A new one is aimed
    at the object, and big enough for it. What is looked at for the first time, or is large, takes the whole
    frame.

    Args:
        frame_wh: width and height of the frame.
        point_px: where the eye rests, in the frame; None (or no finite numbers) in saccades and blinks.
        previous: the window that was encoded before.
        object_px: the box of the mask shown for this fixation, carried to this frame; None: not known yet.
        config: shares.
    """
    width, height = frame_wh
    if point_px is None or not (0 <= point_px[0] <= width and 0 <= point_px[1] <= height):
        return None
    if object_px is not None and not _holds(object_px, point_px):
        # The eye looks at something else, which was not seen yet.
        object_px = None
    if previous is not None and _keeps(previous, frame_wh, point_px, object_px, config):
        return previous
    if object_px is None:
        return None
    x0, y0, x1, y1 = object_px
    share = max((x1 - x0) / width, (y1 - y0) / height) / config.fill
    if share > config.largest:
        return None
    return _window(frame_wh, ((x0 + x1) / 2, (y0 + y1) / 2), min(max(share, config.smallest), config.largest))


def window_view(segmenter: Segmenter, frame_wh: tuple[int, int], window: Window | None) -> View:
    """The view of a window, if its input has the size of the whole frame's; else that of the whole frame.

    So no engine ever meets a shape that it was not warmed up for.
    """
    whole = segmenter.view(frame_wh)
    if window is None:
        return whole
    view = segmenter.view(frame_wh, window)
    return view if view.input_wh == whole.input_wh else whole


def in_view(masks: Masks, view: View) -> Masks:
    """Masks of one view of a frame in another view of the same frame, whose input has the same size.

    Logits are resampled (bilinear). What the first view did not see is not on the mask.
    """
    if masks.view == view:
        return masks
    stride = masks.view.input_wh[0] / masks.logits.shape[2]
    size_wh = (round(view.input_wh[0] / stride), round(view.input_wh[1] / stride))
    source, target = masks.view, view
    # Cell i covers frame pixels from i * step + start; a pixel's or a cell's value is that of its middle.
    steps = [stride / one.scale for one in (source, target)]
    starts = [np.array(one.window_xywh[:2], np.float64) for one in (source, target)]
    scale = steps[1] / steps[0]
    shift = (starts[1] - starts[0] + steps[1] / 2) / steps[0] - 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    planes = [
        cv2.warpAffine(
            plane,
            matrix,
            size_wh,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=OUTSIDE,
        )
        for plane in masks.logits
    ]
    return replace(masks, logits=np.stack(planes).astype(np.float32, copy=False), view=view)


def _keeps(
    window: Window,
    frame_wh: tuple[int, int],
    point_px: tuple[float, float],
    object_px: Box | None,
    config: FoveationConfig,
) -> bool:
    """Whether a window still serves: the gaze is in its inner part, the object fits."""
    left, top, width, height = window
    if left + width > frame_wh[0] or top + height > frame_wh[1]:
        return False  # of frames of another size
    # At the frame's edge there is nothing to see beyond: there the inner part reaches to it.
    margin = (1 - config.inner) / 2
    for at, start, length, end in zip(point_px, (left, top), (width, height), frame_wh, strict=True):
        low = start + margin * length if start > 0 else 0
        high = start + (1 - margin) * length if start + length < end else end
        if not low <= at <= high:
            return False
    if object_px is None:
        return True
    x0, y0, x1, y1 = object_px
    cut = (
        (x0 <= left and left > 0)
        or (y0 <= top and top > 0)
        or (x1 >= left + width and left + width < frame_wh[0])
        or (y1 >= top + height and top + height < frame_wh[1])
    )
    return not cut and max((x1 - x0) / width, (y1 - y0) / height) <= config.outgrown


def _holds(box: Box, point: tuple[float, float]) -> bool:
    """Whether a point is in a box, or as near as half of its sides: gaze is noisy, and objects are thin."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) / 2, (y1 - y0) / 2
    return x0 - across <= point[0] <= x1 + across and y0 - down <= point[1] <= y1 + down


def _window(frame_wh: tuple[int, int], centre: tuple[float, float], share: float) -> Window:
    """A window of the frame's aspect, as near to the centre as the frame allows."""
    width, height = frame_wh
    least = max(1, math.ceil(share * width))
    tries = range(least, min(least + ASPECT_TRIES, width + 1))
    # The width whose height comes out whole keeps the aspect, and so the input's size.
    wide = min(tries, key=lambda one: abs(one * height / width - max(1, round(one * height / width))))
    tall = max(1, round(wide * height / width))
    left = min(max(0, round(centre[0] - wide / 2)), width - wide)
    top = min(max(0, round(centre[1] - tall / 2)), height - tall)
    return left, top, wide, tall
