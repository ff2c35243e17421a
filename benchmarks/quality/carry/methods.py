"""What can be done about pixels that are old when the eye asks about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.geometry import View
from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.motion.pursuit import pursued
from sam_edge.synthetic.gaze.clicks import displaced

Mask = NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True)
class Window:
    """A window round the gaze, encoded at a size of its own."""

    height_part: float
    """Height of the window, in heights of the frame."""
    aspect: float
    """Its width by its height."""
    input_wh: tuple[int, int]
    """What the encoder gets."""

    def view(self, frame_wh: tuple[int, int], gaze_px: Point) -> View:
        """The window of a frame round a point, as far as the frame reaches."""
        height = round(frame_wh[1] * self.height_part)
        width = round(height * self.aspect)
        left, top = (
            min(max(round(at - side / 2), 0), whole - side)
            for at, side, whole in zip(gaze_px, (width, height), frame_wh, strict=True)
        )
        return View(frame_wh, (left, top, width, height), self.input_wh, self.input_wh)


WINDOWS: Mapping[str, Window] = {
    "window": Window(8 / 15, 1.0, (256, 256)),
    "large_window": Window(4 / 5, 4 / 3, (384, 288)),
}
"""1.67 and 1.25 times as fine as the whole frame, and 0.44 and 0.75 times as many pixels."""
PURSUIT_DEG = 1.5
"""The gaze is believed rather than the background from such a difference on."""
GAZE_ERROR_DEG = 0.5
"""Of a tracker inside a fixation, where the gaze's own motion is used."""


def costs_ms(segmenter: Segmenter, rounds: int) -> dict[str, float]:
    """Milliseconds to encode a 1280 x 720 frame, whole or a window of it, and to decode a point on it.

    The least of them: other programs on the cores only make it more.
    """
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    middle = (640.0, 360.0)
    views = {"whole": segmenter.view((1280, 720))}
    views |= {name: window.view((1280, 720), middle) for name, window in WINDOWS.items()}
    times: dict[str, list[float]] = {name: [] for name in views}
    for turn in range(rounds + 2):
        for name, view in views.items():
            start = perf_counter()
            segmenter.decode(segmenter.encode(image, view), Prompt.points([middle]))
            # The first ones compile.
            if turn >= 2:
                times[name].append((perf_counter() - start) * 1e3)
    return {name: min(values) for name, values in times.items()}


def uncompensated(segmenter: Segmenter, old: Embedding, gaze_px: Point) -> Mask:
    """(a) The point is asked on the old frame, and its mask is shown on the newest one."""
    return _shown(segmenter.decode(old, Prompt.points([gaze_px])))


def compensated(segmenter: Segmenter, old: Embedding, gaze_px: Point, motion: Motion) -> Mask | None:
    """(b) The point is carried back to the old frame, its mask forward to the newest one.

    None if the old frame does not show what is looked at.
    """
    x, y = motion.inverse().carry_point(*gaze_px)
    width, height = old.view.frame_wh
    if not (0 <= x <= width and 0 <= y <= height):
        return None
    return _shown(segmenter.decode(old, Prompt.points([(x, y)])), motion)


def followed(
    background: Motion,
    earlier: Mask,
    truth: Mask,
    gaze_px: Point,
    px_per_degree: float,
    rng: np.random.Generator,
) -> Motion:
    """(b) by the motion of what the eye follows: it looked at the same spot of the object `earlier`, too."""
    if not earlier.any():
        return background
    frame_wh = (earlier.shape[1], earlier.shape[0])
    error_px = GAZE_ERROR_DEG * px_per_degree
    (x, y), (u, v) = _middle(earlier), _middle(truth)
    before_px = displaced((gaze_px[0] + x - u, gaze_px[1] + y - v), error_px, frame_wh, rng)
    after_px = displaced(gaze_px, error_px, frame_wh, rng)
    return pursued(background, before_px, after_px, least_px=PURSUIT_DEG * px_per_degree)


def _middle(mask: Mask) -> Point:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def refocused(
    segmenter: Segmenter, image: NDArray[np.uint8], gaze_px: Point, window: Window, motion: Motion | None = None
) -> Mask | None:
    """(c) A window round the point is encoded for it.

    With a motion the image is an earlier one, and the answer carried to the newest by it; None as in (b).
    """
    x, y = gaze_px if motion is None else motion.inverse().carry_point(*gaze_px)
    height, width = image.shape[:2]
    if not (0 <= x <= width and 0 <= y <= height):
        return None
    embedding = segmenter.encode(image, window.view((width, height), (x, y)))
    return _shown(segmenter.decode(embedding, Prompt.points([(x, y)])), motion)


def iou(mask: Mask | None, truth: Mask) -> float:
    """0 where there is no answer."""
    return 0.0 if mask is None else mask_iou(mask, truth)


def moved(mask: Mask, motion: Motion) -> Mask:
    """A mask at the frame's size, moved: what carrying alone would make of a perfect mask."""
    height, width = mask.shape
    return cv2.warpPerspective(mask.astype(np.float32), motion.matrix, (width, height)) > 0.5


def _shown(masks: Masks, motion: Motion | None = None) -> Mask:
    """(H, W): the likeliest mask, carried."""
    best = masks.best()
    mask: Mask = (best if motion is None else carry_masks(best, motion)).binary[0]
    return mask
