"""Does the model folder compute what the PyTorch model computes? Measured through the user's own path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sam_edge.bundle import Bundle
from sam_edge.errors import FidelityError
from sam_edge.geometry import View
from sam_edge.image import encoder_input
from sam_edge.modeling.exportable import Exportable
from sam_edge.modeling.families import Family
from sam_edge.prompt import Prompt
from sam_edge.runtime import find_runtime
from sam_edge.segmenter import Segmenter

RUNTIME = "onnxruntime"

# What float32 sums in another order may cost. A trained model stays far below; the RMS is taken and not the
# largest difference because attention can amplify the last digit of single values.
LIMITS: Mapping[str, float] = {
    "embedding_rms": 1e-4,
    "logits_rms": 2e-3,
    "iou_max": 5e-3,
    "mask_disagreement": 2e-3,
}
"""Relative RMS of embedding and logits, largest difference of predicted IoU, 1 - IoU of a prompt's masks."""


@dataclass(frozen=True)
class Answer:
    """What PyTorch says to one prompt: logits (4, h, w) and predicted IoU (4,)."""

    prompt: Prompt
    logits: NDArray[np.float32]
    iou: NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What PyTorch says about one picture."""

    image: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    answers: Mapping[str, Answer]


def references(model: Exportable, family: Family) -> list[Reference]:
    """PyTorch's answers to every kind of prompt, on a picture of each shape the family encodes."""
    side = family.input_size.long_side
    shapes = [(side, side * 3 // 4)]
    if not family.input_size.square:
        shapes.append((side * 9 // 16, side))
    return [_reference(model, family, picture(shape)) for shape in shapes]


def compare(bundle: Bundle, expected: list[Reference]) -> dict[str, float]:
    """The largest difference of each kind between a model folder in onnxruntime and PyTorch."""
    found: dict[str, float] = {}
    with Segmenter(bundle, find_runtime(RUNTIME)[1]) as segmenter:
        for reference in expected:
            embedding = segmenter.encode(reference.image)
            _note(found, "embedding", embedding.tensors["embedding"][0], reference.embedding)
            for answer in reference.answers.values():
                singles, several = (
                    segmenter.decode(embedding, answer.prompt, multimask=multimask)
                    for multimask in (False, True)
                )
                logits = np.concatenate([singles.logits, several.logits])
                iou = np.concatenate([singles.iou, several.iou])
                _note(found, "logits", logits, answer.logits)
                _keep(found, "iou_max", float(np.abs(iou - answer.iou).max()))
                _keep(found, "mask_disagreement", _disagreement(logits > 0, answer.logits > 0))
    return found


def check(found: Mapping[str, float]) -> None:
    """Raise FidelityError if a difference is above its limit."""
    # `not <=` so that NaN fails as well.
    above = [
        f"{name} {found[name]:.2g} > {limit:g}" for name, limit in LIMITS.items() if not found[name] <= limit
    ]
    if above:
        raise FidelityError(
            f"the exported graphs differ from the PyTorch model: {', '.join(above)}; nothing was written"
        )


def picture(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with large shapes and fine grain, always the same."""
    width, height = size_wh
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = generator.integers(-12, 13, smooth.shape, dtype=np.int16)
    image: NDArray[np.uint8] = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    return image


def prompts(size_wh: tuple[int, int], mask_logits: NDArray[np.float32]) -> dict[str, Prompt]:
    """One prompt of each kind on a picture of that size."""
    width, height = size_wh
    points = np.random.default_rng(1).random((10, 2)) * size_wh
    labels = np.arange(10) % 3 != 2
    box = np.array([0.2 * width, 0.3 * height, 0.7 * width, 0.8 * height])
    return {
        "point": Prompt.points(points[:1]),
        "points": Prompt.points(points[:3], labels[:3]),
        "box": Prompt.box(box),
        "box and points": Prompt.points(points, labels, box=box),
        "point and mask": Prompt.points(points[1:2], mask_logits=mask_logits),
    }


def _reference(model: Exportable, family: Family, image: NDArray[np.uint8]) -> Reference:
    size_wh = (image.shape[1], image.shape[0])
    view = family.input_size.view(size_wh)
    tensor = torch.from_numpy(encoder_input(image, view, family.preprocess))
    with torch.inference_mode():
        features = model.encode(tensor)
        first = Prompt.points([(0.4 * size_wh[0], 0.4 * size_wh[1])])
        earlier = _answer(model, features, first, view).logits[0]
        answers = {
            name: _answer(model, features, prompt, view) for name, prompt in prompts(size_wh, earlier).items()
        }
    return Reference(image, features["embedding"][0].numpy(), answers)


def _answer(model: Exportable, features: Mapping[str, torch.Tensor], prompt: Prompt, view: View) -> Answer:
    coords, labels = prompt.slots(view, prompt.tokens)
    mask = None if prompt.mask_logits is None else torch.from_numpy(prompt.mask_logits)[None, None]
    logits, iou = model.decode(features, torch.from_numpy(coords), torch.from_numpy(labels), mask)
    return Answer(prompt, logits[0].numpy(), iou[0].numpy())


def _note(found: dict[str, float], name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Keep the largest absolute difference and the RMS relative to the reference's."""
    difference = ours - theirs
    _keep(found, f"{name}_max", float(np.abs(difference).max()))
    scale = float(np.sqrt(np.mean(np.square(theirs))))
    _keep(found, f"{name}_rms", float(np.sqrt(np.mean(np.square(difference)))) / max(scale, 1e-12))


def _keep(found: dict[str, float], name: str, value: float) -> None:
    # np.maximum keeps NaN, which max() may lose.
    found[name] = float(np.maximum(found.get(name, 0.0), value))


def _disagreement(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """1 - IoU of a prompt's masks (k, h, w), taken together: a tiny one must not hang on single pixels."""
    return float(1 - (ours & theirs).sum() / max((ours | theirs).sum(), 1))
