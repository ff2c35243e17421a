"""The evaluation protocol: cases from labelled folders, prompts from their masks, IoU of the answers.

Pictures at long side 512, padded to multiples of 32; objects of at least 32 x 32 px (by area, in the
stored picture); IoU at the stored picture's size. The first point is the pixel farthest from the
mask's edge, later ones likewise in the larger error region (Kirillov et al., Segment Anything, 2023,
section 7.1 and appendix D.1).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_edge.errors import InputError
from sam_edge.modeling.nano import (
    LONG_SIDE_PX,
    PIXEL_MEAN,
    PIXEL_STD,
    SIDE_MULTIPLE_PX,
    Nano,
)
from sam_edge.training.pack import read_label
from sam_edge.training.simulate import (
    BOTTOM_RIGHT,
    FOREGROUND,
    TOP_LEFT,
    centre_point,
    correction,
)

Array = NDArray[Any]
SMALLEST_AREA_PX = 32 * 32


@dataclass(frozen=True)
class Case:
    """One picture (H, W, 3) uint8 RGB and the masks (H, W) bool of its objects."""

    name: str
    image: Array
    masks: tuple[Array, ...]


@dataclass(frozen=True)
class Encoded:
    """A picture's features, the scale to the encoder's input and the sizes before padding."""

    features: dict[str, Tensor]
    scale: tuple[float, float]
    inner: tuple[int, int]
    size: tuple[int, int]
    padded: tuple[int, int]


def read_rgb(path: Path) -> Array:
    """The picture (H, W, 3) uint8 RGB; InputError if it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: not a readable picture; give JPEG or PNG files")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def coco_cases(data: Path, limit: int | None = None) -> Iterator[Case]:
    """The exhaustively labelled val pictures of `data`/coco, by name."""
    folder = data / "coco"
    about = json.loads((folder / "annotations.json").read_text())
    paths = sorted((folder / "images" / "val").glob("*.jpg"))
    chosen = [path for path in paths if about[path.stem]["exhaustive"]]
    for path in chosen if limit is None else chosen[:: max(1, len(chosen) // limit)][:limit]:
        image = read_rgb(path)
        labels = read_label(folder / "labels" / "val" / f"{path.stem}.png", image.shape)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        masks = tuple(labels == k for k in np.flatnonzero(areas >= SMALLEST_AREA_PX))
        if masks:
            yield Case(path.stem, image, masks)


def davis_cases(data: Path, step: int = 1) -> Iterator[Case]:
    """Every `step`-th frame of every sequence of `data`/davis2016, one object each."""
    folder = data / "davis2016"
    for path in sorted((folder / "images").glob("*/*.jpg"))[::step]:
        image = read_rgb(path)
        label = folder / "labels" / path.parent.name / f"{path.stem}.png"
        mask = read_label(label, image.shape) > 0
        if mask.sum() >= SMALLEST_AREA_PX:
            yield Case(f"{path.parent.name}/{path.stem}", image, (mask,))


def encode(model: Nano, image: Array) -> Encoded:
    """The features of a picture (H, W, 3) uint8 RGB at long side LONG_SIDE_PX."""
    height, width = image.shape[:2]
    scale = LONG_SIDE_PX / max(height, width)
    inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized: Array = cv2.resize(image, inner[::-1], interpolation=mode)
    small: Array = (resized.astype(np.float32) - np.array(PIXEL_MEAN, np.float32)) / np.array(
        PIXEL_STD, np.float32
    )
    padded = tuple(-(-side // SIDE_MULTIPLE_PX) * SIDE_MULTIPLE_PX for side in inner)
    canvas = np.zeros((*padded, 3), np.float32)
    canvas[: inner[0], : inner[1]] = small
    with torch.inference_mode():
        features = model.encoder(torch.from_numpy(canvas).permute(2, 0, 1)[None].contiguous())
    return Encoded(
        features,
        (inner[1] / width, inner[0] / height),
        inner,
        (height, width),
        (padded[0], padded[1]),
    )


def ask(
    model: Nano,
    encoded: Encoded,
    points: list[tuple[float, float, float]],
    previous: Tensor | None = None,
) -> tuple[Tensor, Array]:
    """Logits (4, h, w) and predicted IoU (4,) for `points` (x, y, label) in pixels of the picture."""
    table = np.array(points, np.float32)
    coords = (table[:, :2] + 0.5) * np.array(encoded.scale, np.float32) - np.float32(0.5)
    height, width = encoded.padded
    empty = torch.zeros(1, 1, height // 4, width // 4)
    with torch.inference_mode():
        logits, iou = model.decoder(
            encoded.features,
            torch.from_numpy(coords)[None],
            torch.from_numpy(table[:, 2].copy())[None],
            empty if previous is None else previous[None, None],
            torch.full((1,), 0.0 if previous is None else 1.0),
        )
    return logits[0], iou[0].numpy()


def full_mask(logits: Tensor, encoded: Encoded) -> Array:
    """One mask's logits (h, w) as the picture's mask (H, W) bool."""
    height, width = encoded.padded
    large = cv2.resize(logits.numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
    inner = large[: encoded.inner[0], : encoded.inner[1]]
    resized: Array = cv2.resize(inner, encoded.size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized > 0


def mask_iou(a: Array, b: Array) -> float:
    """Intersection over union of two bool masks."""
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0


def one_point(model: Nano, encoded: Encoded, mask: Array, point: tuple[float, float]) -> dict[str, float]:
    """One click: IoU of the surest of the three, of the best of the three and of the single mask."""
    logits, iou = ask(model, encoded, [(*point, FOREGROUND)])
    ious = [mask_iou(full_mask(layer, encoded), mask) for layer in logits]
    return {"point": ious[1 + int(iou[1:].argmax())], "oracle": max(ious[1:]), "single": ious[0]}


def clicks(model: Nano, encoded: Encoded, mask: Array, amount: int) -> float:
    """IoU after `amount` clicks, each at the centre of the larger error, logits fed back."""
    points = [(*centre_point(mask), FOREGROUND)]
    logits, iou = ask(model, encoded, points)
    shown = logits[1 + int(iou[1:].argmax())]
    for _ in range(amount - 1):
        points.append(correction(full_mask(shown, encoded), mask, None))
        logits, _ = ask(model, encoded, points, shown)
        shown = logits[0]
    return mask_iou(full_mask(shown, encoded), mask)


def box_iou(model: Nano, encoded: Encoded, mask: Array) -> float:
    """IoU of the single mask for the object's exact box."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    logits, _ = ask(model, encoded, [(x - 0.5, y - 0.5, TOP_LEFT), (x + w - 0.5, y + h - 0.5, BOTTOM_RIGHT)])
    return mask_iou(full_mask(logits[0], encoded), mask)


def quick_score(model: Nano, cases: list[Case], objects: int) -> dict[str, float]:
    """Mean one-click IoU over the `objects` largest objects of each case: what training watches."""
    rows = []
    for case in cases:
        encoded = encode(model, case.image)
        largest = sorted(case.masks, key=lambda mask: -np.count_nonzero(mask))[:objects]
        for mask in largest:
            row = one_point(model, encoded, mask, centre_point(mask))
            rows.append({**row, "box": box_iou(model, encoded, mask)})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
