"""Turned things of a desk: mug, bottle, pencil cup, plant pot, fruit, lantern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects.lathe import Turned, Viewpoint, turn
from sam_edge.synthetic.objects.shading import lit
from sam_edge.synthetic.objects.sprite import Sheet, Sprite, blank_sheet
from sam_edge.synthetic.objects.textures import Colour, colour, fractal_noise, hue_colour

Array = NDArray[np.float32]
Decoration = Callable[[Array, Array], Array]

_WHITE: Colour = (0.94, 0.93, 0.9)


def mug(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A cup with a handle and coffee; checkered, two-tone, dotted or striped."""
    radius, height = rng.uniform(3.7, 4.4), rng.uniform(8.5, 10.5)
    side = float(rng.choice([-1.0, 1.0]))
    sheet = blank_sheet(radius + 4.2, radius + 4.2, 3.6, height + 3.2, px_per_cm)
    first = colour(rng, 0.65, 0.7)
    second = _WHITE if rng.uniform() < 0.6 else colour(rng, 0.5, 0.85)
    _handle(sheet, side, radius, height, np.asarray(first, np.float32))
    profile = [(0.0, radius * 0.86), (0.5, radius * 0.96), (height, radius)]
    body = turn(sheet, profile, view)
    pattern = _decoration(rng, radius, height, first, second)
    _paint_turned(sheet, body, pattern(body.angle, body.level_cm), 0.35)
    _opening(sheet, height, radius, view, np.asarray(second, np.float32), (0.22, 0.12, 0.06))
    return sheet.sprite()


def bottle(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A bottle with a shoulder, a cap of another colour and a label."""
    radius, height = rng.uniform(2.9, 3.7), rng.uniform(17.0, 22.0)
    sheet = blank_sheet(radius + 0.5, radius + 0.5, 3.0, height + 2.0, px_per_cm)
    neck, shoulder = radius * 0.36, height * rng.uniform(0.55, 0.66)
    profile = [
        (0.0, radius * 0.92),
        (0.6, radius),
        (shoulder, radius),
        (shoulder + 2.2, radius * 0.78),
        (height * 0.82, neck),
        (height * 0.86, neck),
        (height * 0.861, neck * 1.2),
        (height, neck * 1.2),
    ]
    glass, cap, label = colour(rng, 0.6, 0.42), colour(rng, 0.7, 0.8), colour(rng, 0.25, 0.92)
    ink = colour(rng, 0.75, 0.45)
    body = turn(sheet, profile, view)
    rgb = np.broadcast_to(np.asarray(glass, np.float32), sheet.rgb.shape).copy()
    low, high = shoulder * 0.22, shoulder * 0.88
    on_label = (body.level_cm > low) & (body.level_cm < high)
    rgb[on_label] = label
    part = (body.level_cm - low) / (high - low)
    rgb[on_label & (np.abs(part - 0.72) < 0.13) & (np.abs(body.angle - 0.2) < 0.9)] = ink
    lines = (np.sin(part * 34) > 0.35) & (part < 0.48) & (np.abs(body.angle - 0.2) < 0.8)
    rgb[on_label & lines] = np.asarray(ink) * 0.4 + np.asarray(label) * 0.6
    rgb[on_label & (np.abs(part - 0.5) > 0.46)] = ink
    rgb[body.level_cm > height * 0.86] = cap
    _paint_turned(sheet, body, rgb, 0.75)
    _lid(sheet, height, neck * 1.2, view, np.asarray(cap, np.float32))
    return sheet.sprite()


def pencil_cup(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A cup with pencils that stick out."""
    radius, height, reach = rng.uniform(3.4, 4.0), rng.uniform(8.5, 10.0), 7.5
    sheet = blank_sheet(radius + 4.0, radius + 4.0, 3.0, height + reach + 2.0, px_per_cm)
    first, second = colour(rng, 0.45, 0.6), colour(rng, 0.4, 0.85)
    body = turn(sheet, [(0.0, radius * 0.95), (height, radius)], view)
    pattern = _decoration(rng, radius, height, first, second)
    _paint_turned(sheet, body, pattern(body.angle, body.level_cm), 0.15)
    _opening(sheet, height, radius, view, np.asarray(first, np.float32), None)
    for _ in range(int(rng.integers(4, 7))):
        foot, tilt = rng.uniform(-0.6, 0.6) * radius, rng.uniform(-0.32, 0.32)
        _pencil(sheet, foot, height - 0.4, tilt, rng.uniform(4.5, reach), colour(rng, 0.75, 0.8))
    front = (body.inside > 0) & (body.nz > 0.25) & (body.level_cm > height - 1.6)
    rim = front & (sheet.y_cm < height - view.squash(height) * radius * 0.6)
    shaded = lit(pattern(body.angle, body.level_cm), body.nx, body.ny, body.nz, 0.15)
    sheet.rgb[rim] = shaded[rim]
    return sheet.sprite()


def plant(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A pot with a bush of leaves."""
    radius, height, crown = rng.uniform(4.4, 5.4), rng.uniform(6.5, 8.0), rng.uniform(8.0, 11.0)
    sheet = blank_sheet(crown + 2, crown + 2, 3.6, height + crown * 1.6, px_per_cm)
    clay = np.asarray(hue_colour(rng.choice([0.04, 0.05, 0.58, 0.12]), 0.5, 0.7, rng), np.float32)
    pot = turn(
        sheet,
        [
            (0.0, radius * 0.72),
            (height * 0.78, radius * 0.93),
            (height * 0.79, radius * 1.04),
            (height, radius * 1.04),
        ],
        view,
    )
    grain = 1 + 0.05 * fractal_noise(rng, sheet.alpha.shape, (20, 20), 2)
    band = np.where(np.abs(pot.level_cm - height * 0.4) < height * 0.07, 1.25, 1.0) * grain
    _paint_turned(sheet, pot, (clay * band[..., None]).astype(np.float32), 0.08)
    _opening(sheet, height, radius * 1.04, view, clay, (0.16, 0.11, 0.08))
    hue = rng.uniform(0.24, 0.36)
    for number in range(int(rng.integers(26, 36))):
        lean = rng.uniform(-1.35, 1.35)
        length = crown * rng.uniform(0.62, 1.0) * (1.0 - 0.22 * abs(lean))
        depth = number / 30
        green = hue_colour(hue + rng.uniform(-0.03, 0.03), 0.62, 0.30 + 0.28 * depth, rng)
        root = (rng.uniform(-0.35, 0.35) * radius, height + 0.2 - 0.9 * depth)
        _leaf(sheet, root, float(lean), float(length), rng.uniform(0.13, 0.2), green)
    return sheet.sprite()


def fruit(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """An apple, a pear or an orange, with stem and blush."""
    radius = rng.uniform(3.4, 4.1)
    kind = int(rng.integers(3))
    long = 1.45 if kind == 1 else 0.92
    height = 2 * radius * long
    sheet = blank_sheet(radius + 0.6, radius + 0.6, 2.6, height + 3.4, px_per_cm)
    part = np.linspace(0, 1, 40)
    round_part = np.sqrt(np.clip(1 - (2 * part - 1) ** 2, 0, 1))
    waist = np.where(part > 0.5, 1 - 0.75 * (part - 0.5), 1.0) if kind == 1 else np.ones(40)
    radii = radius * round_part * waist
    profile = [(float(p * height), float(r)) for p, r in zip(part, radii, strict=True)]
    body = turn(sheet, profile, view)
    hue = (0.99, 0.19, 0.08)[kind] + rng.uniform(-0.015, 0.015)
    skin = np.asarray(hue_colour(hue, 0.82, 0.8, rng), np.float32)
    blush = np.asarray(hue_colour(hue + 0.11, 0.7, 0.85, rng), np.float32)
    noise = fractal_noise(rng, sheet.alpha.shape, (6, 14), 4)
    amount = np.clip(0.35 + 0.5 * noise + 0.35 * np.sin(body.angle * 1.7 + 1), 0, 1)[..., None]
    rgb = (skin * (1 - 0.6 * amount) + blush * 0.6 * amount).astype(np.float32)
    _paint_turned(sheet, body, rgb, 0.45)
    top = height * 0.93
    stem = sheet.polygon([(-0.2, top), (0.2, top), (0.75, top + 2.0), (0.35, top + 2.1)])
    sheet.paint(np.asarray([0.3, 0.2, 0.1], np.float32), stem)
    if rng.uniform() < 0.6:
        _leaf(sheet, (0.4, top + 0.9), 1.0, 2.6, 0.26, (0.25, 0.45, 0.15))
    return sheet.sprite()


def lantern(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A paper lantern under its cord; the anchor is the upper end of the cord."""
    cord, radius = 60.0, rng.uniform(4.6, 5.8)
    height = 2 * radius * rng.uniform(0.85, 1.15)
    sheet = blank_sheet(radius + 1, radius + 1, cord + height + 3, 0.5, px_per_cm)
    rope = (np.abs(sheet.x_cm) < 0.17) & (sheet.y_cm < 0) & (sheet.y_cm > -cord - 1)
    sheet.paint(np.asarray([0.16, 0.13, 0.12], np.float32), rope.astype(np.float32))
    part = np.linspace(0.04, 0.96, 40)
    radii = radius * np.sqrt(1 - (2 * part - 1) ** 2)
    base = -cord - height
    profile = [(float(base + p * height), float(r)) for p, r in zip(part, radii, strict=True)]
    body = turn(sheet, profile, Viewpoint(base + height * 0.45, view.depth_cm))
    first = np.asarray(colour(rng, 0.7, 0.75), np.float32)
    second = np.asarray(hue_colour(0.11, 0.2, 0.93, rng), np.float32)
    level = (body.level_cm - base) / height
    striped = (np.floor(body.angle / (np.pi / 5)) % 2)[..., None]
    banded = (np.floor(level * 5) % 2)[..., None]
    amount = striped if rng.uniform() < 0.5 else banded
    ribs = 1 - 0.12 * (np.abs(np.sin(level * np.pi * 9)) < 0.22)
    rgb = (first + (second - first) * amount) * ribs[..., None]
    _paint_turned(sheet, body, rgb.astype(np.float32), 0.1)
    wide = radius * 0.42
    for y_cm in (base + height * 0.96, base + height * 0.02):
        ring = sheet.polygon([(-wide, y_cm), (wide, y_cm), (wide * 0.9, y_cm + 0.7), (-wide * 0.9, y_cm + 0.7)])
        sheet.paint(np.asarray([0.2, 0.15, 0.12], np.float32), ring)
    return sheet.sprite()


def _paint_turned(sheet: Sheet, body: Turned, rgb: Array, gloss: float) -> None:
    shaded = lit(rgb, body.nx, body.ny, body.nz, gloss)
    # The foot is darker: the table hides part of the sky from it.
    low = float(body.level_cm[body.inside > 0].min()) if body.inside.any() else 0.0
    foot = 0.72 + 0.28 * np.clip((body.level_cm - low) / 1.6, 0, 1)
    sheet.paint(shaded * foot[..., None], body.inside)


def _decoration(
    rng: np.random.Generator, radius: float, height: float, first: Colour, second: Colour
) -> Decoration:
    kind = int(rng.integers(5))
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    turnover = rng.uniform(0.0, 1.0)

    def paint(angle: Array, level: Array) -> Array:
        round_cm = angle * radius + turnover
        if kind == 0:
            chosen = (np.floor(round_cm / 1.7) + np.floor(level / 1.7)) % 2 > 0
        elif kind == 1:
            chosen = level > height * 0.5
        elif kind == 2:
            chosen = np.hypot((round_cm % 2.2) - 1.1, (level % 2.2) - 1.1) < 0.62
        elif kind == 3:
            chosen = np.abs(level - height * 0.55) < height * 0.17
        else:
            chosen = np.abs(level - height * 0.5 - 0.7 * np.sin(round_cm * 1.6)) < height * 0.12
        return np.where(chosen[..., None], b, a).astype(np.float32)

    return paint


def _handle(sheet: Sheet, side: float, radius: float, height: float, rgb: Array) -> None:
    x = sheet.x_cm * side - radius * 0.98
    y = sheet.y_cm - height * 0.5
    away = np.hypot(x / 2.5, y / (height * 0.32))
    tube = (away - 0.82) / 0.22
    ring = (np.abs(tube) < 1) & (x > -1.2)
    nz = np.sqrt(np.clip(1 - tube * tube, 0, 1))
    shaded = lit(np.broadcast_to(rgb, sheet.rgb.shape), tube * x * side / 2.5, tube * y / 3, nz)
    sheet.paint(shaded, ring.astype(np.float32))


def _opening(
    sheet: Sheet, level: float, radius: float, view: Viewpoint, rgb: Array, filling: Colour | None
) -> None:
    squash = view.squash(level)
    lip = sheet.ellipse(0, level, radius, radius * squash)
    sheet.paint(np.clip(rgb * 1.08 + 0.04, 0, 1).astype(np.float32), lip)
    inside = sheet.ellipse(0, level, radius * 0.9, radius * squash * 0.9)
    # The light comes from the left, so the right inner wall is the bright one.
    slope = 0.42 + 0.22 * np.clip(sheet.x_cm / radius, -1, 1)
    sheet.paint((rgb * slope[..., None]).astype(np.float32), inside)
    if filling is not None:
        sunk = sheet.ellipse(0, level - 1.1, radius * 0.89, radius * squash * 0.89) * inside
        sheen = 1 + 0.5 * np.clip(-sheet.x_cm / radius, 0, 1)
        sheet.paint((np.asarray(filling) * sheen[..., None]).astype(np.float32), sunk)


def _lid(sheet: Sheet, level: float, radius: float, view: Viewpoint, rgb: Array) -> None:
    top = sheet.ellipse(0, level, radius, radius * view.squash(level))
    sheet.paint(np.clip(rgb * 1.1 + 0.05, 0, 1).astype(np.float32), top)


def _pencil(sheet: Sheet, foot_x: float, foot_y: float, tilt: float, length: float, rgb: Colour) -> None:
    along = (np.sin(tilt), np.cos(tilt))
    across = (along[1] * 0.36, -along[0] * 0.36)

    def band(start: float, stop: float, taper: float) -> Array:
        a, b = (
            (foot_x + along[0] * start, foot_y + along[1] * start),
            (
                foot_x + along[0] * stop,
                foot_y + along[1] * stop,
            ),
        )
        return sheet.polygon(
            [
                (a[0] - across[0], a[1] - across[1]),
                (a[0] + across[0], a[1] + across[1]),
                (b[0] + across[0] * taper, b[1] + across[1] * taper),
                (b[0] - across[0] * taper, b[1] - across[1] * taper),
            ]
        )

    side = (sheet.x_cm - foot_x) * along[1] - (sheet.y_cm - foot_y) * along[0]
    light = (0.85 - 0.9 * np.clip(side, -0.36, 0.36))[..., None]
    sheet.paint(np.clip(np.asarray(rgb) * light, 0, 1).astype(np.float32), band(0, length, 1.0))
    sheet.paint(np.asarray([0.85, 0.7, 0.5], np.float32), band(length, length + 0.9, 0.3))
    sheet.paint(np.asarray([0.12, 0.11, 0.1], np.float32), band(length + 0.75, length + 1.2, 0.3))


def _leaf(
    sheet: Sheet, root: tuple[float, float], lean: float, length: float, width: float, rgb: Colour
) -> None:
    x, y = sheet.x_cm - root[0], sheet.y_cm - root[1]
    along = (x * np.sin(lean) + y * np.cos(lean)) / length
    # Gravity bends the tip outwards.
    across = (x * np.cos(lean) - y * np.sin(lean)) / length - 0.22 * np.sign(lean) * along**2
    half = width * np.sin(np.pi * np.clip(along, 0, 1)) ** 0.8
    inside = (np.abs(across) < half) & (along > 0) & (along < 1)
    fold = 0.86 - 0.34 * np.sign(across) * np.sign(lean + 0.01) * np.clip(
        np.abs(across) / (width + 1e-6), 0.25, 1
    )
    vein = np.where(np.abs(across) < 0.018, 1.3, 1.0)
    tone = (fold * vein * (0.8 + 0.4 * np.clip(along, 0, 1)))[..., None]
    sheet.paint(np.clip(np.asarray(rgb) * tone, 0, 1).astype(np.float32), inside.astype(np.float32))
