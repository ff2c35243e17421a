"""From a world and a time to the pixels a wearer sees and the label of every pixel."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.layout import Item
from sam_edge.synthetic.motion import Place
from sam_edge.synthetic.world import Matrix, World, apply, sprite_of

Image = NDArray[np.uint8]

_SHUTTER_S = 0.008
_NOISE_MARGIN = 61
_NOISE_LEVELS = 1.8


@dataclass(frozen=True, eq=False)
class Sensor:
    """The camera's own marks: (H, W, 3) uint8 vignette gain and a larger int16 tile of noise."""

    vignette: Image
    noise: NDArray[np.int16]


def sensor(seed: int, width: int, height: int) -> Sensor:
    """A vignette and the noise tile from which every frame takes another cut."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    gain = 255 * (1 - 0.16 * np.clip(x * x + y * y, 0, 2) ** 1.4 / 1.6)
    rng = np.random.default_rng([seed, 1])
    size = (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3)
    noise = rng.standard_normal(size, np.float32) * _NOISE_LEVELS
    return Sensor(
        vignette=np.repeat(gain.astype(np.uint8)[..., None], 3, axis=2),
        noise=np.rint(noise).astype(np.int16),
    )


def draw_labels(world: World, t_s: float, size: tuple[int, int], hidden: Collection[int] = ()) -> Image:
    """(H, W) uint8: which object is seen at each pixel, 0 the background. `size` is (width, height)."""
    labels = np.zeros((size[1], size[0]), np.uint8)
    to_frame = np.linalg.inv(world.frame_to_plane(t_s))
    for item, place in _far_to_near(world, t_s, hidden):
        sprite = sprite_of(item, place)
        warp = to_frame @ world.sprite_to_plane(item, sprite, place)
        seen = _warped(sprite.rgba, warp, size)
        if seen is not None:
            patch, rows, columns = seen
            labels[rows, columns][patch[..., 3] > 127] = item.label
    return labels


def draw(world: World, t_s: float, size: tuple[int, int], hidden: Collection[int] = ()) -> tuple[Image, Image]:
    """(H, W, 3) uint8 RGB before blur and noise, and the labels as `draw_labels` gives them."""
    to_frame = np.linalg.inv(world.frame_to_plane(t_s))
    image = np.asarray(
        cv2.warpPerspective(world.room, to_frame, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT),
        np.uint8,
    )
    labels = np.zeros((size[1], size[0]), np.uint8)
    things = _far_to_near(world, t_s, hidden)
    for item, place in things:
        _darken(image, item, to_frame @ world.shadow_to_plane(item.shadow, place), size)
    for item, place in things:
        sprite = sprite_of(item, place)
        warp = to_frame @ world.sprite_to_plane(item, sprite, place)
        seen = _warped(sprite.rgba, warp, size)
        if seen is not None:
            patch, rows, columns = seen
            _cover(image[rows, columns], patch)
            labels[rows, columns][patch[..., 3] > 127] = item.label
    return image, labels


def expose(image: Image, marks: Sensor, blur_px: tuple[float, float], cut: tuple[int, int]) -> Image:
    """What the sensor makes of a sharp image: smear along (x, y) pixels of motion, vignette, noise."""
    if max(abs(blur_px[0]), abs(blur_px[1])) > 1.0:
        image = np.asarray(cv2.filter2D(image, -1, _smear(blur_px)), np.uint8)
    image = np.asarray(cv2.multiply(image, marks.vignette, scale=1 / 255), np.uint8)
    height, width = image.shape[:2]
    noise = marks.noise[cut[0] : cut[0] + height, cut[1] : cut[1] + width]
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def noise_cut(seed: int, index: int) -> tuple[int, int]:
    """Which (row, column) of the noise tile frame `index` starts at."""
    row, column = np.random.default_rng([seed, 2, index]).integers(0, _NOISE_MARGIN, 2)
    return int(row), int(column)


def smear_px(world: World, t_s: float, size: tuple[int, int]) -> tuple[float, float]:
    """How far the middle of the image moves while the shutter is open, in (x, y) pixels."""
    middle = np.array([[(size[0] - 1) / 2, (size[1] - 1) / 2]], np.float64)
    before = apply(world.frame_to_plane(t_s - _SHUTTER_S / 2), middle)
    to_frame = np.linalg.inv(world.frame_to_plane(t_s + _SHUTTER_S / 2))
    dx, dy = (apply(to_frame, before) - middle)[0]
    return float(dx), float(dy)


def _far_to_near(world: World, t_s: float, hidden: Collection[int]) -> list[tuple[Item, Place]]:
    things = [(item, item.path.at(t_s)) for item in world.items if item.label not in hidden]
    return sorted(things, key=lambda thing: -thing[1].z_cm)


def _warped(canvas: Image, warp: Matrix, size: tuple[int, int]) -> tuple[Image, slice, slice] | None:
    """The part of the frame that an image covers after `warp`, or None when it is out of view."""
    height, width = canvas.shape[:2]
    corners = np.asarray([(-1, -1), (width, -1), (width, height), (-1, height)], np.float64)
    seen = apply(warp, corners)
    left, top = (max(0, int(v)) for v in np.floor(seen.min(axis=0)))
    right = min(size[0], int(np.ceil(seen[:, 0].max())) + 1)
    bottom = min(size[1], int(np.ceil(seen[:, 1].max())) + 1)
    if right <= left or bottom <= top:
        return None
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    patch = cv2.warpPerspective(canvas, shift @ warp, (right - left, bottom - top))
    return np.asarray(patch, np.uint8), slice(top, bottom), slice(left, right)


def _cover(under: Image, patch: Image) -> None:
    """Premultiplied `patch` (h, w, 4) over `under` (h, w, 3), in place."""
    keep = 255 - patch[..., 3:].astype(np.uint16)
    kept = (under * keep + 127) // 255
    under[:] = kept + patch[..., :3]


def _darken(image: Image, item: Item, warp: Matrix, size: tuple[int, int]) -> None:
    seen = _warped(item.shadow.dark, warp, size)
    if seen is None:
        return
    dark, rows, columns = seen
    part = image[rows, columns]
    keep = 255 - dark[..., None].astype(np.uint16)
    part[:] = (part * keep + 127) // 255


def _smear(blur_px: tuple[float, float]) -> NDArray[np.float32]:
    """A line of weights as long and in the direction of the motion."""
    reach = int(np.ceil(max(abs(blur_px[0]), abs(blur_px[1])) / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for part in np.linspace(-0.5, 0.5, 4 * reach + 1):
        x, y = reach + part * blur_px[0], reach + part * blur_px[1]
        column, row = int(x), int(y)
        for j, wy in ((row, 1 - (y - row)), (row + 1, y - row)):
            for i, wx in ((column, 1 - (x - column)), (column + 1, x - column)):
                if wy * wx > 0:
                    kernel[j, i] += wy * wx
    kernel /= kernel.sum()
    return kernel
