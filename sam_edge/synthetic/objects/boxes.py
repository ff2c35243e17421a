"""Things with flat faces: lying books, cartons, toy cars."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects.lathe import Viewpoint
from sam_edge.synthetic.objects.shading import face_light, lit
from sam_edge.synthetic.objects.sprite import Sheet, Sprite, blank_sheet
from sam_edge.synthetic.objects.textures import Image, colour, cover, flat, text_lines

Array = NDArray[np.float32]
Corner = tuple[float, float, float]


def books(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """One to three books that lie on one another, a little turned."""
    sheet = blank_sheet(15.0, 15.0, 9.0, 16.0, px_per_cm)
    level = 0.0
    for _ in range(int(rng.integers(1, 4))):
        wide, deep, thick = rng.uniform(13, 17), rng.uniform(9.5, 12), rng.uniform(1.6, 3.4)
        art = cover(rng, (180, 240))
        spine = art[:4, :4].mean(axis=(0, 1))
        pages = flat((20, 120), (0.9, 0.87, 0.78))
        pages[::3] *= 0.86
        pages[:3], pages[-3:] = spine * 0.8, spine * 0.8
        back = flat((30, 120), spine)
        back = text_lines(rng, back, (0.95, 0.93, 0.88), 14.0)
        shows_spine = rng.uniform() < 0.5
        front = back if shows_spine else pages
        side = pages if shows_spine else flat((20, 60), spine * 0.9)
        corners = _block(wide, deep, thick, level, rng.uniform(-0.3, 0.3))
        _paint_block(sheet, corners, (art, front, side), view, shade=0.55 if level == 0 else 0.75)
        level += thick
    return sheet.sprite()


def carton(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A standing box with printed faces."""
    wide, deep, tall = rng.uniform(7, 11), rng.uniform(4.5, 7.5), rng.uniform(8, 15)
    reach = (wide + deep) * 0.75
    sheet = blank_sheet(reach, reach, 6.0, tall + 6.0, px_per_cm)
    art = cover(rng, (240, 180))
    ground = art[:4, :4].mean(axis=(0, 1))
    side = text_lines(rng, flat((240, 120), ground * 0.92), (0.93, 0.92, 0.88), 15.0)
    top = flat((60, 90), np.clip(ground * 1.1, 0, 1))
    top[28:32] *= 0.75
    corners = _block(wide, deep, tall, 0.0, rng.uniform(-0.5, 0.5))
    _paint_block(sheet, corners, (top, art, side), view, shade=0.6)
    return sheet.sprite()


def toy_car(rng: np.random.Generator, view: Viewpoint, px_per_cm: float) -> Sprite:
    """A small car from the side, with windows, lights and wheels."""
    long, tall = rng.uniform(13, 16), rng.uniform(5.2, 6.4)
    sheet = blank_sheet(long / 2 + 1, long / 2 + 1, 2.5, tall + 3.5, px_per_cm)
    paint = colour(rng, 0.75, 0.75)
    half, deep = long / 2, 2.6 * view.squash(tall)
    belt = tall * 0.55
    roof = [(-half * 0.5, tall), (half * 0.32, tall)]
    hood = [(half * 0.62, belt), (half, belt * 0.86), (half, 1.0), (-half, 1.0), (-half, belt)]
    outline = [*roof, *hood, (-half * 0.78, belt)]
    shell = [(x * 0.97, y + deep) for x, y in outline]
    glass = np.asarray([0.16, 0.2, 0.26], np.float32)
    ones = np.ones(sheet.alpha.shape, np.float32)
    body = np.broadcast_to(np.asarray(paint, np.float32), sheet.rgb.shape)
    sheet.paint(np.clip(body * 1.12 + 0.05, 0, 1).astype(np.float32), _swept(sheet, outline, shell))
    back = [(half * 0.32, tall), (half * 0.62, belt), (half * 0.6, belt + deep * 0.9)]
    sheet.paint(glass * 1.5, sheet.polygon([*back, (half * 0.31, tall + deep * 0.9)]))
    bulge = np.clip((sheet.y_cm - belt * 0.7) / tall, -0.5, 0.6).astype(np.float32)
    sheet.paint(lit(body, 0 * ones, bulge * 1.2, ones, 0.5), sheet.polygon(outline))
    for left, right in ((-0.66, -0.14), (-0.06, 0.47)):
        top_left, top_right = max(left, -0.46), min(right, 0.29)
        pane = [(left, belt), (right, belt), (top_right, tall - 0.6), (top_left, tall - 0.6)]
        window = sheet.polygon([(x * half, y) for x, y in pane])
        glow = (0.7 + 0.8 * np.clip((sheet.y_cm - belt) / tall, 0, 1))[..., None]
        sheet.paint((glass * glow).astype(np.float32), window)
    stripe = sheet.polygon([(-half, 2.2), (half, 2.2), (half, 2.7), (-half, 2.7)])
    sheet.paint(np.asarray([0.93, 0.92, 0.88], np.float32), stripe)
    lamp = sheet.ellipse(half * 0.96, belt * 0.72, 0.5, 0.5) * sheet.polygon(outline)
    sheet.paint(np.asarray([1.0, 0.93, 0.6], np.float32), lamp)
    for x in (-half * 0.56, half * 0.58):
        _wheel(sheet, x, 1.45)
    return sheet.sprite()


def _wheel(sheet: Sheet, x_cm: float, radius_cm: float) -> None:
    for part, rgb in ((1.0, (0.1, 0.1, 0.11)), (0.62, (0.72, 0.72, 0.75)), (0.22, (0.2, 0.2, 0.22))):
        disc = sheet.ellipse(x_cm, radius_cm - 0.2, radius_cm * part, radius_cm * part)
        sheet.paint(np.asarray(rgb, np.float32), disc)


def _swept(sheet: Sheet, near: list[tuple[float, float]], far: list[tuple[float, float]]) -> Array:
    """The area covered while an outline moves from `near` to `far`."""
    swept = np.maximum(sheet.polygon(near), sheet.polygon(far))
    for i, start in enumerate(near):
        j = (i + 1) % len(near)
        swept = np.maximum(swept, sheet.polygon([start, near[j], far[j], far[i]]))
    return swept


def _block(wide: float, deep: float, tall: float, level: float, turn_rad: float) -> list[Corner]:
    """Eight corners (x right, y up, z away): four below, four above, from front left, anticlockwise."""
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    ring = [(-wide / 2, -deep / 2), (wide / 2, -deep / 2), (wide / 2, deep / 2), (-wide / 2, deep / 2)]
    return [
        (float(x * cos - z * sin), y, float(x * sin + z * cos)) for y in (level, level + tall) for x, z in ring
    ]


def _paint_block(
    sheet: Sheet,
    corners: list[Corner],
    images: tuple[Image, Image, Image],
    view: Viewpoint,
    shade: float,
) -> None:
    """Paint the visible faces: top, front and one side, which `images` shows in that order."""
    top, front, side = images
    turned_right = corners[1][2] > corners[0][2]
    beside = (3, 0, 4, 7) if turned_right else (1, 2, 6, 5)
    for indices, image, foot in (
        ((4, 5, 6, 7), top, 1.0),
        (beside, side, shade),
        ((0, 1, 5, 4), front, shade),
    ):
        quad = [corners[i] for i in indices]
        points = np.asarray(quad) * (1, 1, -1)
        normal = np.cross(points[1] - points[0], points[3] - points[0])
        nx, ny, nz = (float(n) for n in normal / np.linalg.norm(normal))
        _paint_face(sheet, quad, image * face_light(nx, ny, nz), view, foot)


def _paint_face(sheet: Sheet, quad: list[Corner], image: Image, view: Viewpoint, foot: float) -> None:
    """Warp `image` onto a quad given from its lower left corner, anticlockwise."""
    seen = np.asarray([_seen(sheet, corner, view) for corner in quad], np.float32)
    height, width = image.shape[:2]
    from_corners = np.asarray([(0, height), (width, height), (width, 0), (0, 0)], np.float32)
    ramp = np.linspace(1.0, foot, height, dtype=np.float32)[:, None, None]
    warp = cv2.getPerspectiveTransform(from_corners, seen)
    size = (sheet.alpha.shape[1], sheet.alpha.shape[0])
    face = cv2.warpPerspective((image * ramp).astype(np.float32), warp, size, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(sheet.alpha.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(seen * 16).astype(np.int32), 1, shift=4)
    sheet.paint(np.clip(face, 0, 1).astype(np.float32), mask.astype(np.float32))


def _seen(sheet: Sheet, corner: Corner, view: Viewpoint) -> tuple[float, float]:
    """Sheet pixel of a corner in perspective; the anchor is the middle of the foot."""
    x, y, z = corner
    nearer = view.depth_cm / (view.depth_cm + z)
    down = (view.height_cm - y) * nearer - view.height_cm
    return sheet.to_px(x * nearer, -down)
