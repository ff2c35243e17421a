"""Drawing results into the camera's image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.prompt import FOREGROUND, Prompt
from sam_edge.streaming.result import FrameResult, Result

MASK_RGB = (90, 255, 60)
GAZE_RGB = (255, 64, 64)
CLOSED_RGB = (150, 150, 150)
OPACITY = 0.45


def draw_result(
    frame_result: FrameResult, results: Sequence[Result], shown: Result | None
) -> NDArray[np.uint8]:
    """A copy of the frame, (H, W, 3) uint8 RGB, with a mask, gaze points and a line of numbers drawn in.

    Args:
        frame_result: the frame; its `results` are not drawn.
        results: gaze points to draw, in the order of time: the newest is a ring, the others are dots.
        shown: whose mask is drawn; None: no mask.
    """
    canvas = frame_result.frame.image.copy()
    if shown is not None and shown.masks is not None:
        draw_mask(canvas, shown.masks.binary[0])
    unit = max(1, round(canvas.shape[1] / 640))
    for result in results[:-1]:
        draw_gaze(canvas, result, radius=unit)
    if results:
        draw_gaze(canvas, results[-1], radius=7 * unit)
    _caption(canvas, _words(frame_result, results, shown))
    return canvas


def draw_mask(canvas: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Tint a mask (H, W) in an image (H, W, 3) RGB, in place, and draw its outline."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    # Only the mask's box is touched: blending the whole image costs more than the decoder.
    window, inside = canvas[y : y + height, x : x + width], mask[y : y + height, x : x + width]
    tinted = window[inside] * (1 - OPACITY) + np.array(MASK_RGB) * OPACITY
    window[inside] = tinted.astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, (255, 255, 255), max(1, canvas.shape[1] // 640))


def draw_gaze(canvas: NDArray[np.uint8], result: Result, radius: int) -> None:
    """Draw a gaze point into an image (H, W, 3) RGB, in place: a ring of `radius` pixels, grey without gaze."""
    height, width = canvas.shape[:2]
    if not (-width < result.x_px < 2 * width and -height < result.y_px < 2 * height):
        return
    unit = max(1, radius // 7)
    # Fixed-point coordinates, so that the ring does not jump from pixel to pixel.
    centre = (round(result.x_px * 16), round(result.y_px * 16))
    colour = CLOSED_RGB if result.status == "no_gaze" else GAZE_RGB
    cv2.circle(canvas, centre, radius * 16, (0, 0, 0), 4 * unit, cv2.LINE_AA, 4)
    cv2.circle(canvas, centre, radius * 16, colour, 2 * unit, cv2.LINE_AA, 4)


def draw_prompt(canvas: NDArray[np.uint8], prompt: Prompt) -> None:
    """Draw a prompt into an image (H, W, 3) RGB, in place.

    Points on the object are green, those off it red, a box is yellow.
    """
    unit = max(1, round(max(canvas.shape[:2]) / 640))
    if prompt.box_px is not None:
        x0, y0, x1, y1 = np.round(prompt.box_px).astype(int).tolist()
        cv2.rectangle(canvas, (x0, y0), (x1, y1), (255, 220, 0), 2 * unit)
    for (x, y), label in zip(prompt.points_px, prompt.labels, strict=True):
        centre = (round(x), round(y))
        cv2.circle(canvas, centre, 5 * unit, (255, 255, 255), -1, cv2.LINE_AA)
        colour = (0, 190, 0) if label == FOREGROUND else (230, 0, 0)
        cv2.circle(canvas, centre, 4 * unit, colour, -1, cv2.LINE_AA)


def _words(frame_result: FrameResult, results: Sequence[Result], shown: Result | None) -> str:
    encode = "not encoded" if frame_result.encode_ms is None else f"encode {frame_result.encode_ms:5.1f} ms"
    words = f"{frame_result.frame.capture_ns / 1e9:6.2f} s  {encode}"
    if shown is None or shown.masks is None:
        return words + "  no gaze"
    # The newest moment of this frame: its last sample, or the frame itself when there was none.
    now_ns = results[-1].t_ns if results else frame_result.frame.capture_ns
    iou = cast("float", shown.masks.predicted_iou[0])
    gaze_age_ms = (now_ns - shown.t_ns) / 1e6
    decode = "mask reused" if shown.reused else f"decode {shown.decode_ms:4.1f} ms"
    return (
        f"{words}  {decode}  gaze age {gaze_age_ms:3.0f} ms  "
        f"frame age {shown.frame_age_ms:3.0f} ms  predicted IoU {iou:.2f}"
    )


def _caption(canvas: NDArray[np.uint8], words: str) -> None:
    """A dark strip along the bottom with a line of text, as wide as the image allows."""
    scale = canvas.shape[1] / 640
    margin = round(6 * scale)
    strip = canvas[-max(1, round(20 * scale)) :]
    strip[:] = strip // 4
    thickness, font = max(1, round(scale)), cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(words, font, 0.4 * scale, thickness)
    fitted = 0.4 * scale * min(1.0, (canvas.shape[1] - 2 * margin) / max(1, width))
    origin = (margin, canvas.shape[0] - margin)
    cv2.putText(canvas, words, origin, font, fitted, (255, 255, 255), thickness, cv2.LINE_AA)
