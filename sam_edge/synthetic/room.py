"""What does not move: wall, table top and the clutter of a desk, painted once on one large image.

The image is the image plane of a camera that looks straight ahead from the wearer's eye: the column
`centre_x_px` is straight ahead, the row `horizon_px` the height of the eye, the focal length `focal_px`.
A camera that only turns sees this plane through a homography, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.objects import textures
from sam_edge.synthetic.objects.textures import Image

EYE_CM = 36.0
WALL_CM = 112.0


@dataclass(frozen=True)
class Plane:
    """Size and geometry of the image of the room."""

    width: int
    height: int
    focal_px: float
    centre_x_px: float
    horizon_px: float

    def project(self, x_cm: float, y_cm: float, z_cm: float) -> tuple[float, float]:
        """Pixel of a point: x right, y above the table, z ahead."""
        scale = self.focal_px / z_cm
        return self.centre_x_px + x_cm * scale, self.horizon_px + (EYE_CM - y_cm) * scale


def paint_room(rng: np.random.Generator, plane: Plane) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB."""
    pitch = plane.focal_px / WALL_CM * rng.uniform(5, 9)
    room = textures.wallpaper(rng, (plane.height, plane.width), pitch)
    _hang_images(rng, plane, room)
    _put_shelf(rng, plane, room)
    _lamp_glow(rng, plane, room)
    _lay_table(rng, plane, room)
    _put_monitor(rng, plane, room)
    softened = cv2.GaussianBlur(room, (0, 0), 0.6 * plane.focal_px / 420)
    return textures.as_bytes(softened)


def _lay_table(rng: np.random.Generator, plane: Plane, room: Image) -> None:
    near_cm, half_cm = 26.0, 170.0
    depth_cm = WALL_CM - near_cm
    rows = int(np.clip(1.75 * plane.focal_px, 240, 1600))
    size = (rows, int(rows * 2 * half_cm / depth_cm))
    top = textures.wood(rng, size, planks=6)
    _table_things(rng, top, size[0] / depth_cm)
    back = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    top *= 0.72 + 0.34 * np.clip(back * 3, 0, 1)
    corners = [
        plane.project(x, 0.0, z)
        for x, z in (
            (-half_cm, WALL_CM),
            (half_cm, WALL_CM),
            (half_cm, near_cm),
            (-half_cm, near_cm),
        )
    ]
    flat = np.asarray([(0, 0), (size[1], 0), (size[1], size[0]), (0, size[0])], np.float32)
    warp = cv2.getPerspectiveTransform(flat, np.asarray(corners, np.float32))
    edge = min(max(int(plane.project(0, 0, WALL_CM)[1]), 0), plane.height - 1)
    # Twice the size and averaged down, because the far planks are many texture pixels wide.
    warp = np.array([[2.0, 0, 0], [0, 2.0, -2.0 * edge], [0, 0, 1]]) @ warp
    size = (plane.width, plane.height - edge)
    seen = cv2.warpPerspective(top, warp, (2 * size[0], 2 * size[1]), borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    y = np.arange(plane.height, dtype=np.float32)[:, None]
    above = np.clip((edge - y) / (plane.focal_px * 0.02), 0, 1)
    room *= (0.62 + 0.38 * above)[..., None]
    room[edge:] = seen


def _table_things(rng: np.random.Generator, top: Image, px_per_cm: float) -> None:
    """A desk mat, a keyboard and sheets of paper, in the table's own plane."""
    middle = top.shape[1] / 2
    shift = rng.uniform(-14, 14)

    def rectangle(x_cm: float, z_cm: float, wide_cm: float, deep_cm: float) -> Image:
        left = int(middle + (x_cm - wide_cm / 2) * px_per_cm)
        upper = int((WALL_CM - z_cm - deep_cm / 2) * px_per_cm)
        return top[max(0, upper) : upper + int(deep_cm * px_per_cm), left : left + int(wide_cm * px_per_cm)]

    mat = rectangle(shift, 60, 62, 30)
    shade = textures.colour(rng, 0.25, 0.3)
    weave = 1 + 0.05 * textures.fractal_noise(rng, mat.shape[:2], (90, 180), 2)
    mat[:] = np.asarray(shade, np.float32) * weave[..., None]
    keys = rectangle(shift + rng.uniform(-6, 2), 62, 36, 12.5)
    _keyboard(rng, keys, px_per_cm)
    for _ in range(int(rng.integers(2, 5))):
        angle, x_cm = rng.uniform(-35, 35), rng.choice([-1, 1]) * rng.uniform(38, 70)
        page = textures.flat((240, 170), textures.colour(rng, 0.08, 0.9))
        page = textures.text_lines(rng, page, textures.colour(rng, 0.3, 0.35), 9.0)
        centre = (middle + x_cm * px_per_cm, (WALL_CM - rng.uniform(50, 90)) * px_per_cm)
        turn = cv2.getRotationMatrix2D((85, 120), float(angle), 17.0 * px_per_cm / 170)
        turn[0, 2] += centre[0] - 85
        turn[1, 2] += centre[1] - 120
        size = (top.shape[1], top.shape[0])
        amount = cv2.warpAffine(np.ones((240, 170), np.float32), turn, size)
        shadow = cv2.GaussianBlur(amount, (0, 0), 0.5 * px_per_cm)
        top[:] = top * (1 - 0.35 * (shadow * (1 - amount))[..., None])
        top[:] = textures.mix(top, cv2.warpAffine(page, turn, size), amount)


def _keyboard(rng: np.random.Generator, board: Image, px_per_cm: float) -> None:
    light = rng.uniform() < 0.5
    board[:] = (0.75, 0.75, 0.76) if light else (0.13, 0.13, 0.14)
    key = (0.92, 0.92, 0.91) if light else (0.24, 0.24, 0.26)
    pitch = 2.35 * px_per_cm
    for row in range(int(board.shape[0] / pitch)):
        y = int(row * pitch + 0.2 * pitch)
        x = 0.25 * pitch
        while x < board.shape[1] - pitch:
            wide = pitch * (6 if row == 4 and abs(x - board.shape[1] * 0.3) < pitch else 1)
            board[y : int(y + 0.8 * pitch), int(x) : int(x + wide - 0.2 * pitch)] = key
            x += wide


def _put_monitor(rng: np.random.Generator, plane: Plane, room: Image) -> None:
    if rng.uniform() < 0.25:
        return
    x_cm, z_cm = rng.uniform(-16, 16), 98.0
    wide, tall, base = 54.0, 31.0, 9.0
    foot = [(x_cm - 11, 0.0), (x_cm + 11, 0.0), (x_cm + 10, 1.0), (x_cm - 10, 1.0)]
    neck = [(x_cm - 3, 1.0), (x_cm + 3, 1.0), (x_cm + 3, base + 4), (x_cm - 3, base + 4)]
    case = _box(x_cm, base, wide + 1.6, tall + 1.6)
    shadow = np.zeros((plane.height, plane.width), np.float32)
    _fill(shadow, plane, [(x - 2, y * 0.2) for x, y in foot], z_cm - 4, 0.6)
    _fill(shadow, plane, [(x + 3, y - 2) for x, y in case], z_cm + 12, 0.35)
    room *= 1 - cv2.GaussianBlur(shadow, (0, 0), plane.focal_px * 0.02)[..., None]
    for shape, tone in ((foot, 0.2), (neck, 0.15), (case, 0.1)):
        _fill(room, plane, shape, z_cm, tone)
    screen = _screen(rng)
    corners = [plane.project(x, y, z_cm) for x, y in _box(x_cm, base + 0.8, wide, tall)]
    _place(room, screen, corners)


def _screen(rng: np.random.Generator) -> Image:
    """An editor with a side bar, a status bar and coloured words, 400 x 700."""
    screen = textures.flat((400, 700), textures.colour(rng, 0.3, 0.16))
    screen[:, :110] *= 0.75
    screen[-16:] = textures.colour(rng, 0.6, 0.5)
    screen[:22] = 0.22
    for row in range(34, 375, 13):
        x = 130 + 22 * int(rng.integers(0, 4))
        for _ in range(int(rng.integers(0, 6))):
            wide = int(rng.integers(14, 70))
            screen[row : row + 6, x : min(x + wide, 680)] = textures.colour(rng, 0.4, 0.75)
            x += wide + 9
        if rng.uniform() < 0.6:
            screen[row : row + 5, 14 : 14 + int(rng.integers(20, 80))] = 0.45
    glare = np.linspace(0.07, 0.0, 700, dtype=np.float32)[None, :, None]
    return textures.clipped(screen + glare)


def _hang_images(rng: np.random.Generator, plane: Plane, room: Image) -> None:
    places: list[tuple[float, float, float, float]] = []
    x_cm = -150.0
    while x_cm < 150:
        wide, tall, y_cm = rng.uniform(16, 34), rng.uniform(18, 32), rng.uniform(26, 46)
        if rng.uniform() < 0.75:
            places.append((x_cm + wide / 2, y_cm, wide, tall))
        x_cm += wide + rng.uniform(9, 30)
    shadow = np.zeros((plane.height, plane.width), np.float32)
    for middle, y_cm, wide, tall in places:
        _fill(shadow, plane, _box(middle + 1.2, y_cm - 1.6, wide + 3, tall + 3), WALL_CM, 0.5)
    room *= 1 - cv2.GaussianBlur(shadow, (0, 0), plane.focal_px * 0.008)[..., None]
    for middle, y_cm, wide, tall in places:
        frame = np.asarray(textures.hue_colour(0.07, 0.5, rng.uniform(0.2, 0.6), rng))
        _fill(room, plane, _box(middle, y_cm, wide + 3, tall + 3), WALL_CM, frame)
        _fill(room, plane, _box(middle, y_cm + 1.0, wide + 1, tall + 1), WALL_CM, 0.9)
        art = textures.landscape(rng, (150, 180))
        inner = _box(middle, y_cm + 3.5, wide - 4, tall - 4)
        _place(room, art, [plane.project(x, y, WALL_CM) for x, y in inner])


def _put_shelf(rng: np.random.Generator, plane: Plane, room: Image) -> None:
    """A board on the wall with a row of standing books."""
    side = float(rng.choice([-1, 1]))
    left, long, y_cm = side * rng.uniform(48, 66) - 28, 56.0, rng.uniform(27, 34)
    shadow = np.zeros((plane.height, plane.width), np.float32)
    under = [(left, y_cm - 7), (left + long + 3, y_cm - 7), (left + long + 3, y_cm + 20)]
    _fill(shadow, plane, [*under, (left, y_cm + 20)], WALL_CM, 0.4)
    room *= 1 - cv2.GaussianBlur(shadow, (0, 0), plane.focal_px * 0.015)[..., None]
    x_cm = left + rng.uniform(1, 4)
    while x_cm < left + long - 5:
        thick, tall = rng.uniform(1.8, 5.0), rng.uniform(15, 25)
        lean = 4.0 if rng.uniform() < 0.1 else 0.0
        rgb = np.asarray(textures.colour(rng, 0.5, 0.55), np.float32)
        spine = np.broadcast_to(rgb, (120, 30, 3)).copy()
        spine *= (0.75 + 0.35 * np.sin(np.linspace(0.3, 2.6, 30)))[None, :, None]
        band = int(rng.integers(10, 90))
        spine[band : band + int(rng.integers(6, 24))] = textures.colour(rng, 0.4, 0.85)
        spine[8:11] = spine[-12:-9] = (0.85, 0.75, 0.5)
        quad = [(x_cm + lean, y_cm + tall), (x_cm + thick + lean, y_cm + tall)]
        quad += [(x_cm + thick, y_cm), (x_cm, y_cm)]
        _place(room, spine, [plane.project(x, y, WALL_CM) for x, y in quad])
        x_cm += thick + 0.15 + lean + (rng.uniform(3, 9) if rng.uniform() < 0.08 else 0)
    board = textures.wood(rng, (20, 300), 1)
    corners = [plane.project(x, y, WALL_CM - 14) for x, y in _box(left + long / 2, y_cm - 1.6, long, 2)]
    _place(room, board, corners)


def _lamp_glow(rng: np.random.Generator, plane: Plane, room: Image) -> None:
    """Warm light from the upper left that fades over the wall."""
    y, x = np.mgrid[0 : plane.height, 0 : plane.width].astype(np.float32) / np.float32(plane.focal_px)
    x0 = plane.centre_x_px / plane.focal_px - rng.uniform(0.2, 0.7)
    y0 = plane.horizon_px / plane.focal_px - rng.uniform(0.1, 0.4)
    fade = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 0.9)
    warmth = np.asarray([1.0, 0.95, 0.86], np.float32)
    room *= (0.66 + 0.46 * fade[..., None]) * warmth
    np.clip(room, 0, 1, out=room)


def _box(x_cm: float, y_cm: float, wide: float, tall: float) -> list[tuple[float, float]]:
    """Corners from the upper left, clockwise; (x_cm, y_cm) is the middle of the lower edge."""
    left, right = x_cm - wide / 2, x_cm + wide / 2
    return [(left, y_cm + tall), (right, y_cm + tall), (right, y_cm), (left, y_cm)]


def _fill(
    canvas: Image,
    plane: Plane,
    outline_cm: list[tuple[float, float]],
    z_cm: float,
    tone: float | NDArray[np.float64],
) -> None:
    points = np.asarray([plane.project(x, y, z_cm) for x, y in outline_cm])
    values = np.broadcast_to(np.asarray(tone, np.float64), (3,)).tolist()
    cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], values, lineType=cv2.LINE_8, shift=4)


def _place(room: Image, canvas: Image, corners_px: list[tuple[float, float]]) -> None:
    """Warp an image onto a quad given from its upper left corner, clockwise."""
    height, width = canvas.shape[:2]
    flat = np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    corners = np.asarray(corners_px, np.float32)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = room[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return
    warp = cv2.getPerspectiveTransform(flat, corners - low.astype(np.float32))
    size = (part.shape[1], part.shape[0])
    shrink = max(1.0, width / max(1.0, float(np.ptp(corners[:, 0]))))
    smooth = cv2.GaussianBlur(canvas, (0, 0), 0.5 * shrink)
    seen = cv2.warpPerspective(smooth, warp, size, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(part.shape[:2], np.float32)
    points = np.round((corners - low.astype(np.float32)) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, points, 1.0, shift=4)
    part[:] = textures.mix(part, seen, mask)
