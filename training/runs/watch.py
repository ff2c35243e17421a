"""What a training run watches: one click and one box on the largest objects of a few validation photos.

The full evaluation is `sam-edge eval` on the exported model; this one is quick, and runs on the PyTorch model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_edge.geometry import InputSize, View
from sam_edge.imaging.image import encoder_input, read_image
from sam_edge.imaging.overlap import mask_iou
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.masks import Masks
from sam_edge.modeling.nano.model import LONG_SIDE_PX, PIXEL_MEAN, PIXEL_STD, SIDE_MULTIPLE_PX, Nano
from sam_edge.prompt import Prompt
from sam_edge.synthetic.gaze.clicks import centre_click
from sam_edge.training.data.pack import read_label

SMALLEST_AREA_PX = 32 * 32
INPUT = InputSize(LONG_SIDE_PX, SIDE_MULTIPLE_PX, square=False)
PREPROCESS = Preprocess(PIXEL_MEAN, PIXEL_STD, "area")


@dataclass(frozen=True, eq=False)
class Case:
    """A photo (H, W, 3) RGB and the masks (H, W) of its objects, the largest first."""

    image: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]


def coco_cases(data: Path, photos: int, objects: int) -> list[Case]:
    """The largest `objects` of about `photos` exhaustively labelled val photos of `data`/coco."""
    folder = data / "coco"
    about: dict[str, dict[str, Any]] = json.loads((folder / "annotations.json").read_text())
    paths = sorted((folder / "images" / "val").glob("*.jpg"))
    paths = [path for path in paths if about[path.stem]["exhaustive"]]
    cases = []
    for path in paths[:: max(1, len(paths) // photos)][:photos]:
        image = read_image(path)
        labels = read_label(folder / "labels" / "val" / f"{path.stem}.png", image.shape)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        largest = [int(k) for k in np.argsort(-areas)[:objects] if areas[k] >= SMALLEST_AREA_PX]
        if largest:
            cases.append(Case(image, tuple(labels == k for k in largest)))
    return cases


def quick_score(model: Nano, cases: Sequence[Case]) -> dict[str, float]:
    """Mean IoU of one click (the surest of three, the best of three, the single mask) and of a box."""
    rows = []
    for case in cases:
        view = INPUT.view((case.image.shape[1], case.image.shape[0]))
        with torch.inference_mode():
            features = model.encoder(torch.from_numpy(encoder_input(case.image, view, PREPROCESS)))
        for truth in case.masks:
            clicked = _decode(model, features, view, Prompt.points([centre_click(truth)]))
            x, y, width, height = cv2.boundingRect(truth.astype(np.uint8))
            boxed = _decode(model, features, view, Prompt.box((x, y, x + width, y + height)))
            ious = [mask_iou(plane, truth) for plane in clicked.binary]
            rows.append(
                {
                    "point": ious[1 + int(clicked.predicted_iou[1:].argmax())],
                    "oracle": max(ious[1:]),
                    "single": ious[0],
                    "box": mask_iou(boxed[0].binary[0], truth),
                }
            )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _decode(model: Nano, features: dict[str, Tensor], view: View, prompt: Prompt) -> Masks:
    """All four masks; the first is the single one."""
    coords, labels = prompt.slots(view, prompt.tokens)
    previous = torch.zeros(1, 1, view.input_wh[1] // 4, view.input_wh[0] // 4)
    with torch.inference_mode():
        logits, iou = model.decoder(
            features, torch.from_numpy(coords), torch.from_numpy(labels), previous, torch.zeros(1)
        )
    return Masks(logits[0].numpy(), iou[0].numpy(), view)
