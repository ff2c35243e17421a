"""Procedural surfaces: seeded functions that paint (h, w, 3) float32 RGB images in 0..1."""

from __future__ import annotations

import colorsys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Colour = tuple[float, float, float]

# Hue and the share of saturation at which cups, cartons and covers are commonly made in it.
_HUES = (
    (0.0, 1.0),
    (0.02, 0.9),
    (0.06, 0.95),
    (0.1, 0.9),
    (0.13, 0.95),
    (0.33, 0.6),
    (0.42, 0.6),
    (0.5, 0.7),
    (0.55, 0.85),
    (0.59, 1.0),
    (0.63, 0.85),
    (0.75, 0.5),
    (0.94, 0.6),
    (0.1, 0.25),
    (0.6, 0.2),
)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int], octaves: int = 4
) -> Image:
    """Value noise of several octaves, (h, w) float32 with mean about 0 and range about -1..1.

    `cells` is the grid (rows, columns) of the coarsest octave; unequal numbers give grain with a direction.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    weight = 1.0
    for octave in range(octaves):
        rows = min(cells[0] << octave, height) + 1
        columns = min(cells[1] << octave, width) + 1
        grid = rng.uniform(-1.0, 1.0, (rows, columns)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= 0.5
    return total


def colour(rng: np.random.Generator, saturation: float = 0.6, value: float = 0.75) -> Colour:
    """A random colour of household things near the given saturation and value."""
    hue, strength = _HUES[int(rng.integers(len(_HUES)))]
    return hue_colour(hue + rng.uniform(-0.012, 0.012), saturation * strength, value, rng)


def hue_colour(hue: float, saturation: float, value: float, rng: np.random.Generator) -> Colour:
    """The RGB of a hue (0..1, wraps around) with a little seeded variation."""
    s = float(np.clip(saturation + rng.uniform(-0.12, 0.12), 0.0, 1.0))
    v = float(np.clip(value + rng.uniform(-0.12, 0.12), 0.05, 1.0))
    return colorsys.hsv_to_rgb(hue % 1.0, s, v)


def flat(shape: tuple[int, int], rgb: Colour | NDArray[Any]) -> Image:
    """An image (h, w, 3) float32 of one colour (3,), 0 to 1."""
    return np.broadcast_to(np.asarray(rgb, np.float32), (*shape, 3)).copy()


def mix(under: Image, over: Colour | NDArray[Any], amount: NDArray[Any]) -> Image:
    """`under` (h, w, 3) blended with `over`, (3,) or (h, w, 3), whose share is `amount` (h, w), 0 to 1."""
    weight = np.asarray(amount, np.float32)[..., None]
    return under * (1 - weight) + np.asarray(over, np.float32) * weight


def clipped(values: NDArray[Any]) -> Image:
    """`values` of any shape, clipped to 0..1, as float32."""
    return np.asarray(np.clip(values, 0, 1), np.float32)


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """`values` of any shape, 0 to 1, as uint8 0 to 255, rounded and clipped."""
    return np.asarray(np.clip(values * 255 + 0.5, 0, 255), np.uint8)


def wood(rng: np.random.Generator, shape: tuple[int, int], planks: int = 7) -> Image:
    """Boards that run from left to right, with grain, rings, a tone of their own and dark seams."""
    height = shape[0]
    rows = np.arange(height, dtype=np.float32)[:, None] / height * planks
    board = rows.astype(np.int32)
    warp = fractal_noise(rng, shape, (planks, 3), 3)
    shift = rng.uniform(0.0, 40.0, planks + 1).astype(np.float32)[board]
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (rows * 2.2 + shift + 1.3 * warp))
    grain = fractal_noise(rng, shape, (planks * 24, 6), 3)
    dark = np.asarray(hue_colour(rng.uniform(0.055, 0.085), 0.6, 0.36, rng), np.float32)
    light = np.asarray(hue_colour(rng.uniform(0.075, 0.1), 0.46, 0.68, rng), np.float32)
    amount = np.clip(0.50 + 0.22 * (rings - 0.5) + 0.16 * grain, 0, 1)[..., None]
    image = dark + (light - dark) * amount
    tone = rng.uniform(0.86, 1.08, planks + 1).astype(np.float32)[board]
    seam = np.abs(rows - np.round(rows)) * height / planks
    tone = tone * np.where(seam < 1.2, 0.62, 1.0)
    return clipped(image * tone[..., None])


def wallpaper(rng: np.random.Generator, shape: tuple[int, int], pitch_px: float) -> Image:
    """Painted plaster with a pale repeated pattern: stripes, diamonds, dots or plain."""
    height, width = shape
    base = hue_colour(
        float(rng.choice([0.09, 0.12, 0.35, 0.55, 0.6, 0.03])),
        rng.uniform(0.12, 0.3),
        rng.uniform(0.62, 0.78),
        rng,
    )
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(pitch_px)
    kind = int(rng.integers(4))
    if kind == 0:
        pattern = _soft(np.sin(2 * np.pi * x))
    elif kind == 1:
        pattern = _soft(np.sin(np.pi * (x + y)) * np.sin(np.pi * (x - y)) * 1.6)
    elif kind == 2:
        odd = np.floor(y) % 2 * 0.5
        away = np.hypot((x + odd) % 1 - 0.5, y % 1 - 0.5)
        pattern = _soft((0.2 - away) * 8)
    else:
        pattern = np.zeros(shape, np.float32)
    plaster = fractal_noise(rng, shape, (12, 20), 5)
    lightness = 1 + 0.10 * (pattern - 0.5) + 0.03 * plaster
    return clipped(flat(shape, base) * lightness[..., None])


def landscape(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """A small painting: sky, a sun, and ranges of hills."""
    height, width = shape
    hue = float(rng.uniform())
    sky = np.asarray(hue_colour(hue, 0.45, 0.85, rng), np.float32)
    low = np.asarray(hue_colour(hue + 0.45, 0.35, 0.95, rng), np.float32)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = np.broadcast_to(sky + (low - sky) * ramp, (height, width, 3)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    sun = np.hypot(x - width * rng.uniform(0.2, 0.8), y - height * rng.uniform(0.2, 0.45))
    image = mix(image, (0.98, 0.92, 0.75), _soft((height * 0.11 - sun) / 1.5))
    for depth in range(3):
        ridge = height * (0.5 + 0.17 * depth) + height * 0.16 * fractal_noise(rng, (1, width), (1, 3), 3)
        hill = hue_colour(hue + 0.1 + 0.07 * depth, 0.5, 0.62 - 0.15 * depth, rng)
        image = mix(image, hill, _soft(y - ridge))
    return image


def text_lines(
    rng: np.random.Generator, page: Image, ink: Colour, line_px: float, ragged: float = 0.4
) -> Image:
    """Bars of word length on `page`, as writing looks from a distance."""
    out = page.copy()
    height, width = page.shape[:2]
    thick = max(1, round(line_px * 0.42))
    y = line_px * 1.2
    while y < height - line_px:
        x = width * 0.08
        end = width * (0.92 - ragged * float(rng.uniform()))
        while x < end:
            word = line_px * rng.uniform(0.8, 3.4)
            stop = min(x + word, end)
            out[int(y) : int(y) + thick, int(x) : int(stop)] = ink
            x += word + line_px * 0.55
        y += line_px
    return out


def cover(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """The face of a book or carton: a ground colour, a band, a figure and a title."""
    height, width = shape
    image = flat(shape, colour(rng, 0.7, 0.55))
    second = colour(rng, 0.55, 0.85)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind = int(rng.integers(4))
    if kind == 0:
        image = mix(image, second, _soft((x * 0.7 + y - height * 0.75) / 1.5))
    elif kind == 1:
        away = np.hypot(x - width * 0.5, y - height * 0.62) / min(shape)
        image = mix(image, second, _soft((0.27 - away) * min(shape) / 1.5))
        image = mix(image, (0.95, 0.92, 0.85), _soft((0.12 - away) * min(shape) / 1.5))
    elif kind == 2:
        image = mix(image, second, _soft(np.sin(y / height * 2 * np.pi * 5) * 6))
    else:
        inset = (int(height * 0.42), int(width * 0.12))
        size = (int(height * 0.48), max(2, int(width * 0.76)))
        image[inset[0] : inset[0] + size[0], inset[1] : inset[1] + size[1]] = landscape(rng, size)
    title = image[int(height * 0.07) : int(height * 0.36)]
    title[:] = text_lines(rng, title, (0.97, 0.95, 0.9), max(3.0, height * 0.11), 0.2)
    return image


def ball_skin(rng: np.random.Generator, size: int = 128) -> Image:
    """A latitude-longitude map (size, 2 size): beach ball, two-tone, striped, dotted or panelled."""
    y, x = np.mgrid[0:size, 0 : 2 * size].astype(np.float32)
    longitude, latitude = x / (2 * size) * 2 * np.pi, y / size * np.pi
    first, second, third = (colour(rng, 0.85, 0.75) for _ in range(3))
    white = (0.93, 0.92, 0.88)
    kind = int(rng.integers(5))
    skin = flat((size, 2 * size), white)
    if kind == 0:
        segment = np.floor(longitude / (np.pi / 3)).astype(np.int32)
        palette = np.asarray([first, white, second, white, third, white], np.float32)
        skin = palette[segment % 6]
    elif kind == 1:
        skin = mix(flat((size, 2 * size), first), second, _soft((latitude - np.pi / 2) * 30))
        skin = mix(skin, white, _soft((0.12 - np.abs(latitude - np.pi / 2)) * 30))
    elif kind == 2:
        skin = mix(skin, first, _soft(np.sin(latitude * 7) * 8))
    elif kind == 3:
        dots = np.cos(longitude * 5) * np.cos(latitude * 6 + 0.5) - 0.45
        skin = mix(flat((size, 2 * size), first), white, _soft(dots * 12))
    else:
        panels = np.cos(longitude * 3) * np.sin(latitude) + 0.8 * np.cos(latitude * 4)
        skin = mix(skin, (0.12, 0.12, 0.14), _soft((np.abs(panels) - 0.75) * 12))
    speckle = 1 + 0.03 * fractal_noise(rng, (size, 2 * size), (24, 48), 3)
    return clipped(skin * speckle[..., None])


def _soft(edge: Image) -> Image:
    """0 below -0.5, 1 above 0.5, straight between: an edge one unit wide."""
    return clipped(edge + 0.5)
