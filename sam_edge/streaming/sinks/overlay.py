"""Drawing results into the camera's picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.prompt import FOREGROUND, Prompt
from sam_edge.streaming.offline import Look, Step

MASK_RGB = (90, 255, 60)
GAZE_RGB = (255, 64, 64)
CLOSED_RGB = (150, 150, 150)
OPACITY = 0.45


def draw_step(step: Step, looks: Sequence[Look], shown: Look | None) -> NDArray[np.uint8]:
    """The step's frame (H, W, 3) with the mask of `shown`, the gaze points of `looks` and a line of numbers.

    The newest gaze point is a ring, the others are dots.
    """
    picture = step.frame.image.copy()
    if shown is not None and shown.masks is not None:
        draw_mask(picture, shown.masks.binary[0])
    unit = max(1, round(picture.shape[1] / 640))
    for look in looks[:-1]:
        draw_gaze(picture, look, radius=unit)
    if looks:
        draw_gaze(picture, looks[-1], radius=7 * unit)
    _caption(picture, _words(step, looks, shown))
    return picture


def draw_mask(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Tint a mask (H, W) in a picture (H, W, 3) RGB, in place, and draw its outline."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    # Only the mask's box is touched: blending the whole picture costs more than the decoder.
    window, inside = picture[y : y + height, x : x + width], mask[y : y + height, x : x + width]
    tinted = window[inside] * (1 - OPACITY) + np.array(MASK_RGB) * OPACITY
    window[inside] = tinted.astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), max(1, picture.shape[1] // 640))


def draw_gaze(picture: NDArray[np.uint8], look: Look, radius: int) -> None:
    """Draw a gaze point into a picture, in place: a ring of that radius, grey when the eye is closed."""
    height, width = picture.shape[:2]
    if not (-width < look.x_px < 2 * width and -height < look.y_px < 2 * height):
        return
    unit = max(1, radius // 7)
    # Fixed-point coordinates, so that the ring does not jump from pixel to pixel.
    centre = (round(look.x_px * 16), round(look.y_px * 16))
    colour = CLOSED_RGB if look.status == "closed" else GAZE_RGB
    cv2.circle(picture, centre, radius * 16, (0, 0, 0), 4 * unit, cv2.LINE_AA, 4)
    cv2.circle(picture, centre, radius * 16, colour, 2 * unit, cv2.LINE_AA, 4)


def draw_prompt(picture: NDArray[np.uint8], prompt: Prompt) -> None:
    """Draw a prompt into a picture, in place: green points on the object, red ones off it, a yellow box."""
    unit = max(1, round(max(picture.shape[:2]) / 640))
    if prompt.box_px is not None:
        x0, y0, x1, y1 = np.round(prompt.box_px).astype(int).tolist()
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 220, 0), 2 * unit)
    for (x, y), label in zip(prompt.points_px, prompt.labels, strict=True):
        centre = (round(x), round(y))
        cv2.circle(picture, centre, 5 * unit, (255, 255, 255), -1, cv2.LINE_AA)
        colour = (0, 190, 0) if label == FOREGROUND else (230, 0, 0)
        cv2.circle(picture, centre, 4 * unit, colour, -1, cv2.LINE_AA)


def _words(step: Step, looks: Sequence[Look], shown: Look | None) -> str:
    time_s = step.frame.capture_ns / 1e9
    words = f"{time_s:6.2f} s  encode {step.encode_ms:5.1f} ms"
    if shown is None:
        return words + "  no gaze"
    # The newest moment of this step: its last sample, or the frame itself when there was none.
    now_ns = looks[-1].gaze.t_ns if looks else step.frame.capture_ns
    iou = cast("float", shown.masks.iou[0]) if shown.masks else 0.0
    gaze_age_ms = (now_ns - shown.gaze.t_ns) / 1e6
    return (
        f"{words}  decode {shown.decode_ms:4.1f} ms  gaze age {gaze_age_ms:3.0f} ms  "
        f"frame age {shown.frame_age_ms:3.0f} ms  IoU {iou:.2f}"
    )


def _caption(picture: NDArray[np.uint8], words: str) -> None:
    """A dark strip along the bottom with a line of text, as wide as the picture allows."""
    scale = picture.shape[1] / 640
    strip = picture[-max(1, round(20 * scale)) :]
    strip[:] = strip // 4
    origin = (round(6 * scale), picture.shape[0] - round(6 * scale))
    thickness = max(1, round(scale))
    cv2.putText(
        picture, words, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4 * scale, (255, 255, 255), thickness, cv2.LINE_AA
    )
