"""What happens to a training image before the model sees it.

Every function takes the random generator, so a batch is a function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .images import Photo

Array = NDArray[Any]
FILL_RGB = (123.675, 116.28, 103.53)


@dataclass(frozen=True)
class View:
    """A square crop: `image` (C, C, 3) uint8 RGB, label maps (C, C), and the zoom that made it."""

    image: Array
    labels: tuple[Array, ...]
    scale: float


def crop_around(photo: Photo, rng: np.random.Generator, size: int, scales: tuple[float, float]) -> View:
    """A crop of side `size` around a random object, at a random zoom, rotation and stretch.

    The zoom shows the whole image, or things as large as they are, or the object at any size.
    """
    centre, extent = _random_object(photo, rng)
    height, width = photo.image.shape[:2]
    kind = rng.random()
    if kind < 0.25:
        scale = size / max(height, width) * rng.uniform(0.85, 1.3)
    elif kind < 0.6:
        scale = np.exp(rng.normal(0.0, 0.3))
    else:
        scale = size * np.exp(rng.uniform(np.log(0.15), np.log(1.0))) / extent
    scale = float(np.clip(scale, *scales))
    room = np.maximum(size * 0.5 - np.minimum(extent * scale * 0.5, size * 0.4), 0.0)
    shift = rng.uniform(-room, room, 2)
    aim = np.clip(centre, *_aim_limits(width, height, size / scale))
    angle = rng.normal(0.0, 8.0) if rng.random() < 0.3 else 0.0
    matrix = _affine(aim, scale, angle, rng.uniform(0.88, 1.14), rng.random() < 0.5)
    matrix[:, 2] += size * 0.5 + shift * 0.5
    return warp(photo, matrix, size, scale)


def _random_object(photo: Photo, rng: np.random.Generator) -> tuple[Array, float]:
    labels = photo.labels[rng.integers(len(photo.labels))]
    ids = np.unique(labels)
    ids = ids[ids > 0]
    if not ids.size:
        height, width = labels.shape
        return np.array([width / 2, height / 2]), float(max(height, width))
    if photo.set == "ccp" and rng.random() < 0.5:
        x, y, w, h = cv2.boundingRect((labels > 0).astype(np.uint8))
    else:
        areas = np.bincount(labels.ravel())[ids].astype(float)
        chance = np.sqrt(areas)
        chosen = rng.choice(ids, p=chance / chance.sum())
        x, y, w, h = cv2.boundingRect((labels == chosen).astype(np.uint8))
    return np.array([x + w / 2, y + h / 2]), float(max(w, h, 12))


def _aim_limits(width: int, height: int, side: float) -> tuple[Array, Array]:
    low = np.minimum(np.array([side, side]) * 0.4, np.array([width, height]) * 0.5)
    return low, np.array([width, height]) - low


def _affine(aim: Array, scale: float, angle_deg: float, stretch: float, flip: bool) -> Array:
    turn = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    sizes = np.diag([scale * np.sqrt(stretch) * (-1.0 if flip else 1.0), scale / np.sqrt(stretch)])
    linear = rotation @ sizes
    return np.concatenate([linear, -(linear @ aim)[:, None]], axis=1)


def warp(photo: Photo, matrix: Array, size: int, scale: float) -> View:
    """The view that `matrix` (2, 3), image to crop, cuts out; outside is the mean colour, label 0."""
    image = photo.image
    if scale < 0.6:
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        fx, fy = half.shape[1] / image.shape[1], half.shape[0] / image.shape[0]
        image, image_matrix = half, matrix @ np.diag([1 / fx, 1 / fy, 1.0])
    else:
        image_matrix = matrix
    seen = cv2.warpAffine(image, image_matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=FILL_RGB)
    maps = tuple(
        cv2.warpAffine(label.astype(np.uint16), matrix, (size, size), flags=cv2.INTER_NEAREST)
        for label in photo.labels
    )
    return View(seen, maps, scale)


def paste(view: View, donor: Photo, rng: np.random.Generator, label: int) -> View:
    """`view` with one object of `donor` pasted in, as `label` in every map; unchanged if it has none."""
    size = view.image.shape[0]
    labels = donor.labels[0]
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    ids = np.flatnonzero(areas > 900)
    if not ids.size:
        return view
    inside = (labels == rng.choice(ids)).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(inside)
    scale = float(np.clip(size * rng.uniform(0.15, 0.65) / max(w, h), 0.2, 1.6))
    matrix = _affine(np.array([x + w / 2, y + h / 2]), scale, rng.normal(0, 12), 1.0, rng.random() < 0.5)
    matrix[:, 2] += rng.uniform(0.1, 0.9, 2) * size
    mode = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
    image = cv2.warpAffine(donor.image, matrix, (size, size), flags=mode)
    alpha = cv2.warpAffine(inside.astype(np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    return overlay(view, image, alpha, label)


def overlay(view: View, image: Array, alpha: Array, label: int) -> View:
    """`image` over `view` where `alpha` (C, C) in 0..1 says; labelled where it covers half."""
    soft = cv2.GaussianBlur(alpha, (3, 3), 0.6)[:, :, None]
    blended = (view.image * (1.0 - soft) + image * soft).astype(np.uint8)
    covered = alpha > 0.5
    maps = tuple(np.where(covered, np.uint16(label), old) for old in view.labels)
    return View(blended, maps, view.scale)


def shape(view: View, donor: Photo, rng: np.random.Generator, label: int) -> View:
    """`view` with a random blob, polygon or ellipse over it, filled with donor texture or a gradient."""
    size = view.image.shape[0]
    radius = size * rng.uniform(0.06, 0.3)
    count = int(rng.integers(3, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    if rng.random() < 0.5:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        waves = sum(rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 6.28)) for k in (1, 2, 3, 5))
        lengths = radius * np.clip(1.0 + waves, 0.25, 2.0)
    else:
        lengths = radius * rng.uniform(0.5, 1.4, count)
    squash = np.array([1.0, rng.uniform(0.35, 1.0)])
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None] * squash
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline = outline @ rotation.T + rng.uniform(0.1, 0.9, 2) * size
    alpha = np.zeros((size, size), np.float32)
    cv2.fillPoly(alpha, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    if rng.random() < 0.6:
        matrix = _affine(np.array(donor.image.shape[1::-1]) / 2.0, rng.uniform(0.5, 1.5), 0, 1, False)
        matrix[:, 2] += size / 2
        mode = cv2.BORDER_REFLECT
        image = cv2.warpAffine(donor.image, matrix, (size, size), borderMode=mode)
    else:
        ramp = np.linspace(0, 1, size, dtype=np.float32)[None, :, None]
        ends = rng.uniform(0, 255, (2, 3)).astype(np.float32)
        image = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (size, size, 3))
        image = image + rng.normal(0, rng.uniform(0, 14), (size, size, 1))
    shade = np.float32(rng.uniform(0.6, 1.3))
    return overlay(view, np.clip(image * shade, 0, 255), np.clip(alpha, 0, 1), label)


def recolour(image: Array, rng: np.random.Generator) -> Array:
    """Change brightness, contrast, colour, blur, motion blur, noise and compression, each at random.

    Args:
        image: (H, W, 3), 0 to 255.

    Returns:
        (H, W, 3) uint8.
    """
    out: Array = image.astype(np.float32)
    if rng.random() < 0.6:
        gain = rng.uniform(0.7, 1.35) * rng.uniform(0.92, 1.08, 3)
        out = (out - 128.0) * rng.uniform(0.75, 1.3) + 128.0 + rng.uniform(-20, 20)
        out = out * gain.astype(np.float32)
    if rng.random() < 0.25:
        grey = out @ np.array([0.299, 0.587, 0.114], np.float32)
        keep = rng.uniform(0.0, 1.6) if rng.random() < 0.85 else 0.0
        out = grey[:, :, None] + (out - grey[:, :, None]) * np.float32(keep)
    if rng.random() < 0.12:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.5, 1.8)))
    if rng.random() < 0.07:
        out = cv2.filter2D(out, -1, motion_kernel(int(rng.integers(3, 10)), rng.uniform(0, 180)))
    if rng.random() < 0.2:
        out = out + rng.normal(0, rng.uniform(2, 14), out.shape).astype(np.float32)
    out = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.08:
        quality = int(rng.integers(25, 75))
        coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded the line before
        out = decoded
    return out


def motion_kernel(length: int, angle_deg: float) -> Array:
    """A blur kernel (length, length) float32: a line through the centre at `angle_deg`, with sum 1."""
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0
    centre = ((length - 1) / 2, (length - 1) / 2)
    turned = cv2.warpAffine(kernel, cv2.getRotationMatrix2D(centre, angle_deg, 1.0), (length, length))
    return turned / max(float(turned.sum()), 1e-6)
