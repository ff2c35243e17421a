"""Drawing results into the camera's image, so that nobody takes an old mask for a new one.

A mask is tinted by its freshness: green when made from this frame, amber when carried along from an older
one. A stale one is grey, hatched and dashed: it shows what was. The caption says the same in words, with all
ages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.prompt import FOREGROUND, Prompt
from sam_edge.streaming.result import FrameResult, Freshness, Result

RGB = tuple[int, int, int]
FRESHNESS_RGB: Mapping[Freshness, RGB] = {
    "fresh": (90, 255, 60),
    "carried": (255, 190, 40),
    "stale": (190, 190, 190),
}
WHITE: RGB = (255, 255, 255)
GAZE_RGB: RGB = (255, 64, 64)
CLOSED_RGB: RGB = (150, 150, 150)
OPACITY = 0.45
STRIPE_PX = 4
DASH_PX = 6
"""Both at an image 640 pixels wide, and larger with it."""


def draw_result(
    frame_result: FrameResult, results: Sequence[Result], shown: Sequence[Result]
) -> NDArray[np.uint8]:
    """A copy of the frame, (H, W, 3) uint8 RGB, with masks, gaze points and a line of numbers drawn in.

    Args:
        frame_result: the frame; its `results` are not drawn.
        results: gaze points to draw, in the order of time: the newest is a ring, the others are dots.
        shown: whose masks are drawn, each as fresh as it says; those of tracked objects get their number.
    """
    canvas = frame_result.frame.image.copy()
    unit = _unit(canvas)
    for result in shown:
        if result.masks is not None:
            label = "" if result.object_id is None else f"#{result.object_id}"
            draw_mask(canvas, result.masks.binary[0], result.freshness or "fresh", label)
    for result in results[:-1]:
        draw_gaze(canvas, result, radius=unit)
    if results:
        draw_gaze(canvas, results[-1], radius=7 * unit)
    _caption(canvas, _words(frame_result, results, shown))
    return canvas


def draw_mask(
    canvas: NDArray[np.uint8], mask: NDArray[np.bool_], freshness: Freshness = "fresh", label: str = ""
) -> None:
    """Tint a mask (H, W) in an image (H, W, 3) RGB, in place, and draw its outline and label."""
    inside = mask.view(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    if not width:
        return
    # Only the mask's box is touched: blending the whole image costs more than the decoder.
    window, inside = canvas[y : y + height, x : x + width], inside[y : y + height, x : x + width]
    unit, colour = _unit(canvas), FRESHNESS_RGB[freshness]
    outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
    if freshness == "stale":
        # At the place in the image, so that the stripes stand still while the mask moves.
        inside = inside & _stripes(canvas.shape[:2], unit * STRIPE_PX)[y : y + height, x : x + width]
    cv2.copyTo(cv2.LUT(window, _tint(colour)), inside, window)
    if freshness == "stale":
        dash = unit * DASH_PX
        dashes = [line[at : at + dash] for line in outlines for at in range(0, len(line), 2 * dash)]
        cv2.polylines(canvas, dashes, False, colour, unit)
    else:
        cv2.drawContours(canvas, outlines, -1, WHITE, unit)
    if label:
        _text(canvas, label, (x, max(12 * unit, y - 3 * unit)), 0.4 * unit, colour)


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
        cv2.circle(canvas, centre, 5 * unit, WHITE, -1, cv2.LINE_AA)
        colour = (0, 190, 0) if label == FOREGROUND else (230, 0, 0)
        cv2.circle(canvas, centre, 4 * unit, colour, -1, cv2.LINE_AA)


def _unit(canvas: NDArray[np.uint8]) -> int:
    """How thick a line is, in pixels."""
    width: int = canvas.shape[1]
    return max(1, width // 640)


@lru_cache(maxsize=8)
def _tint(colour: RGB) -> NDArray[np.uint8]:
    """What each value of a channel becomes under a colour, (1, 256, 3): tables are faster than arithmetic."""
    plain = np.arange(256)[None, :, None] * (1 - OPACITY)
    table: NDArray[np.uint8] = (plain + np.array(colour) * OPACITY).astype(np.uint8)
    return table


@lru_cache(maxsize=2)
def _stripes(size_hw: tuple[int, int], width_px: int) -> NDArray[np.uint8]:
    """Slanting stripes, (H, W), 1 on a stripe and 0 between two."""
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    stripes: NDArray[np.uint8] = ((rows + columns) // width_px % 2).astype(np.uint8)
    return stripes


def _words(
    frame_result: FrameResult, results: Sequence[Result], shown: Sequence[Result]
) -> list[tuple[str, RGB]]:
    """The caption: pieces of text and their colours."""
    capture_ns, encode_ms = frame_result.frame.capture_ns, frame_result.encode_ms
    encode = "not encoded" if encode_ms is None else f"encode {encode_ms:.1f} ms"
    # A recording that is played live keeps its own time.
    time = (f"{(capture_ns - frame_result.frame.offset_ns) / 1e9:.2f} s  ", WHITE)
    masked = [result for result in shown if result.masks is not None]
    if not masked:
        return [time, ("no mask  ", CLOSED_RGB), (encode, WHITE)]
    # Of several objects the one that is behind the most.
    oldest = max(masked, key=lambda result: (result.embedding_age_ms, -result.t_ns))
    # The newest moment of this frame: its last sample, or the frame itself when there was none.
    now_ns = results[-1].t_ns if results else capture_ns
    since_ms = max(0.0, (now_ns - oldest.t_ns) / 1e6)
    gaze, frame, pixels = (
        age + since_ms for age in (oldest.gaze_age_ms, oldest.frame_age_ms, oldest.embedding_age_ms)
    )
    decode = "mask reused" if oldest.reused else f"decode {oldest.decode_ms:.1f} ms"
    iou = cast("float", masked[-1].masks.predicted_iou[0] if masked[-1].masks else 0.0)
    freshness = oldest.freshness or "fresh"
    ages = f"ages: gaze {gaze:.0f}, frame {frame:.0f}, pixels {pixels:.0f} ms  "
    return [
        time,
        (f"{freshness.upper()}  ", FRESHNESS_RGB[freshness]),
        (ages, FRESHNESS_RGB[freshness]),
        (f"{decode}  {encode}  predicted IoU {iou:.2f}", WHITE),
    ]


def _caption(canvas: NDArray[np.uint8], words: Sequence[tuple[str, RGB]]) -> None:
    """A dark strip along the bottom with a line of text, as wide as the image allows."""
    scale = canvas.shape[1] / 640
    margin = round(6 * scale)
    strip = canvas[-max(1, round(20 * scale)) :]
    strip[:] = strip // 4
    whole = sum(_width(text, 0.4 * scale, scale) for text, _ in words)
    fitted = 0.4 * scale * min(1.0, (canvas.shape[1] - 2 * margin) / max(1, whole))
    x = margin
    for text, colour in words:
        _text(canvas, text, (x, canvas.shape[0] - margin), fitted, colour)
        x += _width(text, fitted, scale)


def _width(text: str, size: float, scale: float) -> int:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, max(1, round(scale)))
    return width


def _text(canvas: NDArray[np.uint8], text: str, origin: tuple[int, int], size: float, colour: RGB) -> None:
    thickness = max(1, round(canvas.shape[1] / 640))
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)
