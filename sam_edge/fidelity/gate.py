"""The gate: does an engine compute what the model computes? Measured through the user's own path.

Images and many prompts go through `Segmenter`, preprocessing and slots included, and everything that comes
back is compared: the embedding, the logits, the predicted IoU, the masks, and where the masks lie. Engines that
prepare frames themselves are asked twice, see `frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.manifest import EngineSpec, Precision
from sam_edge.embedding import Embedding
from sam_edge.errors import FidelityError
from sam_edge.fidelity.differences import Differences, ReferenceAnswer
from sam_edge.fidelity.frames import Frames
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter

Steps = Callable[[], None]
"""Called after every image."""


@dataclass(frozen=True)
class Limits:
    """What an engine must keep.

    The mean of the masks' IoU is judged, and of the worst no more than a floor: the mask of a few pixels, which
    every model gives now and then, loses a tenth of its IoU with one pixel. A wrong engine moves the mean; one
    graph of several that is wrong moves that of its own answers, which are few, and so are taken together.
    What moves masks little, a shift by part of a pixel, is judged by itself.
    """

    mask_iou_mean: float
    """At least."""
    mask_iou_group: float
    """At least: all masks of a graph and kind of prompt taken together, of the worst such group.

    They are few, and get three times the room of all.
    """
    mask_iou_p1: float
    """At least: the 1st percentile."""
    embedding_cosine: float
    """At least, on the worst image."""
    embedding_rms: float
    """At most, as a share of the reference's."""
    logits_rms: float
    """At most, as a share of the reference's."""
    iou_error: float
    """At most: mean difference of predicted IoU, of the worst group."""
    shift_px: float
    """At most: how far the masks of a group are shifted together, in pixels of the encoder's input."""
    frame_rms: float = 1e-2
    """At most: what it changes in the embedding, as a share of it, that the engine prepares frames itself, in
    whatever layout. It may be a grey level off; with another normalisation it is more."""
    frame_mask_iou: float = 0.99
    """At least: mean IoU of the masks on frames that the engine prepares itself. A grey level in a tenth of the
    values, which is what rounding makes of an enlarged image, costs nano 0.006."""


LIMITS: Mapping[Precision, Limits] = {
    "fp32": Limits(0.999, 0.997, 0.98, 0.99999, 1e-3, 5e-3, 2e-3, 0.02),
    "fp16": Limits(0.995, 0.985, 0.90, 0.999, 5e-2, 5e-2, 1e-2, 0.1),
}
LEAST = frozenset({"mask_iou_mean", "mask_iou_group", "mask_iou_p1", "embedding_cosine", "frame_mask_iou"})
"""Limits that are lower bounds."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the reference says about one image (H, W, 3)."""

    image: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    """(c, h, w)"""
    answers: Sequence[ReferenceAnswer]
    logits_stride: int = 1
    """Answers hold only every so many-th row and column of the logits."""
    embedding_stride: int = 1
    """The embedding holds only every so many-th value, of all in one row."""


def test_prompts(
    size_wh: tuple[int, int], mask_logits: NDArray[np.float32] | None, max_points: int
) -> list[tuple[Prompt, bool | None]]:
    """Prompts of every kind, all over an image of that size, with the number of masks that is asked for.

    Args:
        mask_logits: (h, w), the model's own answer to another prompt; None if it takes no masks.
        max_points: how many points the model takes beside a box.
    """
    width, height = size_wh
    generator = np.random.default_rng(1)
    grid = [(x * width, y * height) for y in (0.25, 0.5, 0.8) for x in (0.2, 0.5, 0.85)]
    several = [generator.random((max_points, 2)) * size_wh for _ in range(3)]
    labels = np.arange(max_points) % 3 != 2
    boxes = [
        np.array(box) * (width, height, width, height)
        for box in ((0.2, 0.3, 0.7, 0.8), (0.05, 0.05, 0.4, 0.5), (0.5, 0.1, 0.95, 0.9))
    ]
    return [
        *((Prompt.points([point]), None) for point in grid),
        (Prompt.points([grid[4]]), False),
        *((Prompt.box(box), None) for box in boxes),
        (Prompt.box(boxes[0]), False),
        (Prompt.points(grid[3:6][:max_points], [1, 0, 1][:max_points]), None),
        (Prompt.points(grid[3:6][:max_points], [0, 1, 0][:max_points]), True),
        *((Prompt.points(points, labels, box=box), None) for points, box in zip(several, boxes, strict=True)),
        *((Prompt.points(points, labels, box=boxes[0]), True) for points in several[:2]),
        *(
            (Prompt.points([point], mask_logits=mask_logits), multimask)
            for point, multimask in ((grid[0], None), (grid[4], False))
            if mask_logits is not None
        ),
    ]


def first_prompt(size_wh: tuple[int, int]) -> Prompt:
    """The prompt whose answer is the mask that later prompts bring along."""
    return Prompt.points([(0.4 * size_wh[0], 0.4 * size_wh[1])])


def ask(
    segmenter: Segmenter, images: Iterable[NDArray[np.uint8]], each: Steps = lambda: None
) -> list[Reference]:
    """What an engine that is trusted says about images."""
    return [_ask(segmenter, image, each) for image in images]


def measure(
    segmenter: Segmenter,
    expected: Sequence[Reference],
    each: Steps = lambda: None,
    frames: Frames | None = None,
) -> dict[str, float]:
    """How far an engine is from what is expected: the numbers that `Limits` judges, and some more.

    Args:
        frames: what opens the segmenter's engines; None if they prepare no frames.

    Raises:
        FidelityError: answers of other shapes than what is expected.
    """
    found = Differences()
    for reference in expected:
        embedding = segmenter.encode(reference.image)
        own = frames.own_embedding(embedding) if frames else None
        found.embedding(
            _embedding(embedding).ravel()[:: reference.embedding_stride], reference.embedding.ravel()
        )
        stride = reference.logits_stride
        for answer in reference.answers:
            group = segmenter.decoder_for(answer.prompt)[1], len(answer.predicted_iou)
            masks = segmenter.decode(embedding, answer.prompt, multimask=answer.multimask)
            found.answer(group, masks.logits[:, ::stride, ::stride], masks.predicted_iou, answer, stride)
            if own is not None:
                masks = segmenter.decode(own, answer.prompt, multimask=answer.multimask)
                found.own_frame(masks.logits[:, ::stride, ::stride], answer)
        each()
    frame_rms = float(np.max(frames.rms)) if frames and frames.rms else 0.0
    return found.numbers() | {"frame_rms": frame_rms, "images": float(len(expected))}


def find_violations(
    found: Mapping[str, float], precision: Precision, limits: Limits | None = None
) -> list[str]:
    """What is beyond its limit (None: that of the precision), in words; nothing if the engine passes."""
    limits = limits or LIMITS[precision]
    violations = []
    for name, limit in vars(limits).items():
        # `not` so that NaN fails as well.
        least = name in LEAST
        if not (found[name] >= limit if least else found[name] <= limit):
            violations.append(f"{name} {found[name]:.4g} {'<' if least else '>'} {limit:g}")
    return violations


def check(found: Mapping[str, float], engine: EngineSpec) -> None:
    """Raise FidelityError if the engine does not pass."""
    if violations := find_violations(found, engine.precision):
        raise FidelityError(f"{engine} differs from the model: {', '.join(violations)}; nothing was written")


def result(
    found: Mapping[str, float],
    precision: Precision,
    *,
    against_onnx: bool,
    limits: Limits | None = None,
) -> dict[str, float]:
    """The numbers as the manifest keeps them, with the judgement by those limits."""
    kept = {name: value for name, value in found.items() if np.isfinite(value)}
    return kept | {
        "against_onnx": float(against_onnx),
        "passed": float(not find_violations(found, precision, limits)),
    }


def _ask(segmenter: Segmenter, image: NDArray[np.uint8], each: Steps) -> Reference:
    size_wh = (image.shape[1], image.shape[0])
    embedding = segmenter.encode(image)
    first = segmenter.decode(embedding, first_prompt(size_wh), multimask=False)
    earlier = first.logits[0] if segmenter.takes_masks else None
    answers = []
    for prompt, multimask in test_prompts(size_wh, earlier, segmenter.max_points):
        masks = segmenter.decode(embedding, prompt, multimask=multimask)
        answers.append(ReferenceAnswer(prompt, multimask, masks.logits, masks.predicted_iou))
    each()
    return Reference(image, _embedding(embedding), answers)


def _embedding(embedding: Embedding) -> NDArray[np.float32]:
    image: NDArray[np.float32] = np.asarray(embedding.tensors["embedding"])[0]
    return image
