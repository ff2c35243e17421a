"""What can be evaluated: a model, or a simple method that a model must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError, MissingExtraError
from sam_edge.geometry import View
from sam_edge.masks import Masks
from sam_edge.prompt import FOREGROUND, Prompt

WORK_SIDE_PX = 256
"""Long side that the baselines work at: GrabCut takes seconds on a photo."""


class Candidate(Protocol):
    """The part of a Segmenter that an evaluation needs."""

    @property
    def max_points(self) -> int: ...

    def encode(self, image: NDArray[np.uint8]) -> Embedding: ...

    def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks: ...


class Baseline:
    """Three masks around the first foreground point, or the box, from the image's colours alone."""

    max_points = 1_000_000
    """Only the first counts, so any number may be given."""

    def __init__(self, name: str) -> None:
        if name not in BASELINES:
            raise InputError(f"unknown baseline {name!r}", hint=f"choose one of {', '.join(BASELINES)}")
        if name == "slic" and find_spec("skimage") is None:
            raise MissingExtraError("scikit-image", "eval")
        self._name = name

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        frame_wh = (image.shape[1], image.shape[0])
        scale = min(1.0, WORK_SIDE_PX / max(frame_wh))
        work_wh = (max(1, round(frame_wh[0] * scale)), max(1, round(frame_wh[1] * scale)))
        small = cv2.resize(image, work_wh, interpolation=cv2.INTER_AREA)
        view = View(frame_wh, (0, 0, *frame_wh), work_wh, work_wh)
        return Embedding({"embedding": small[None].astype(np.float32)}, view, 0, self._name)

    def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks:
        image = np.asarray(embedding.tensors["embedding"])[0].astype(np.uint8)
        point = _first_point(prompt, embedding.view)
        planes = [plane.astype(np.float32) * 2 - 1 for plane in BASELINES[self._name](image, point)]
        logits = np.stack(planes if multimask is not False else planes[:1])
        # They predict no IoU: only the order counts, the likeliest mask first.
        iou = np.linspace(0.5, 0.4, len(logits), dtype=np.float32)
        return Masks(logits, iou, embedding.view)


def _first_point(prompt: Prompt, view: View) -> tuple[int, int]:
    if len(prompt.points_px):
        xy = prompt.points_px[int(np.argmax(prompt.labels == FOREGROUND))]
    else:
        assert prompt.box_px is not None
        xy = prompt.box_px.reshape(2, 2).mean(axis=0)
    x, y = np.clip(view.to_model(xy).astype(int), 0, np.array(view.input_wh) - 1).tolist()
    return x, y


def flood_fill(image: NDArray[np.uint8], point: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """What is connected to the point through colours within a tolerance of the point's own."""
    planes = []
    for tolerance in (24, 12, 48):
        filled = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
        flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
        cv2.floodFill(image.copy(), filled, point, 0, (tolerance,) * 3, (tolerance,) * 3, flags)
        planes.append(filled[1:-1, 1:-1].astype(bool))
    return planes


def disc(image: NDArray[np.uint8], point: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """Discs around the point, their radius 8, 4 and 16 % of the long side: what the point alone tells."""
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(xs - point[0], ys - point[1])
    return [distance < share * max(image.shape[:2]) for share in (0.08, 0.04, 0.16)]


def grab_cut(image: NDArray[np.uint8], point: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """GrabCut (Rother et al., 2004) that starts from a disc around the point."""
    planes = []
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(xs - point[0], ys - point[1])
    for radius in (30, 15, 60):
        labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
        labels[distance < 2 * radius] = cv2.GC_PR_BGD
        labels[distance < radius] = cv2.GC_PR_FGD
        labels[distance < 3] = cv2.GC_FGD
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)
        cv2.grabCut(image, labels, (0, 0, 1, 1), *models, 3, cv2.GC_INIT_WITH_MASK)
        planes.append((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    return planes


def superpixel(image: NDArray[np.uint8], point: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """The SLIC superpixel (Achanta et al., 2012) under the point."""
    from skimage.segmentation import slic

    planes = []
    for count in (60, 200, 20):
        labels = slic(image, n_segments=count, compactness=10, start_label=0)
        planes.append(labels == labels[point[1], point[0]])
    return planes


BASELINES: Mapping[str, Callable[[NDArray[np.uint8], tuple[int, int]], list[NDArray[np.bool_]]]] = {
    "grabcut": grab_cut,
    "slic": superpixel,
    "floodfill": flood_fill,
    "disc": disc,
}
