"""The gate: does an engine compute what the model computes? Measured through the user's own path.

Images and many prompts go through `Segmenter`, preprocessing and slots included, and everything that comes
back is compared: the embedding, the logits, the predicted IoU, the masks, and where the masks lie. Engines that
prepare frames themselves are measured in both ways, see `frames`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.manifest import EngineSpec
from sam_edge.embedding import Embedding
from sam_edge.errors import FidelityError
from sam_edge.fidelity.differences import Differences, ReferenceAnswer
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.result import LIMITS, FidelityResult
from sam_edge.masks import Masks
from sam_edge.progress import Progress, silent
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter


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
        mask_logits: (h, w), the model's own answer to another prompt; None if it does not take masks.
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
    segmenter: Segmenter, images: Sequence[NDArray[np.uint8]], progress: Progress = silent
) -> list[Reference]:
    """What an engine that is trusted says about images (H, W, 3) uint8 RGB."""
    references = []
    for index, image in enumerate(images, 1):
        references.append(_ask(segmenter, image))
        progress("running the reference", index / len(images))
    return references


def measure(
    segmenter: Segmenter,
    expected: Sequence[Reference],
    progress: Progress = silent,
    frames: Frames | None = None,
) -> FidelityResult:
    """How far an engine is from what is expected; not judged yet.

    Args:
        segmenter: the engine.
        expected: what the reference says, one or more images.
        progress: shows how many images are done.
        frames: the loader of the segmenter's sessions; None if they do not prepare frames themselves.

    Raises:
        FidelityError: answers of other shapes than what is expected.
    """
    found = Differences()
    for index, reference in enumerate(expected, 1):
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
        for answer, masks in _together(segmenter, embedding, reference.answers):
            group = "together", len(answer.predicted_iou)
            found.answer(group, masks.logits[:, ::stride, ::stride], masks.predicted_iou, answer, stride)
        progress("comparing", index / len(expected))
    return found.result(frames.rms if frames else [])


def _together(
    segmenter: Segmenter, embedding: Embedding, answers: Sequence[ReferenceAnswer]
) -> Iterable[tuple[ReferenceAnswer, Masks]]:
    """The answers to prompts that a batched decoder is asked in one run; none where the model has no such
    graph."""
    if not any(graph.is_batched for graph in segmenter.manifest.decoders.values()):
        return ()
    asked = [answer for answer in answers if answer.multimask is None]
    return zip(
        asked, segmenter.decode_batch(embedding, [one.prompt for one in asked], together=True), strict=True
    )


def check(found: FidelityResult, engine: EngineSpec) -> None:
    """Raise FidelityError if the engine does not pass."""
    if violations := found.violations(LIMITS[engine.precision]):
        raise FidelityError(f"{engine} differs from the model: {', '.join(violations)}; nothing was written")


def _ask(segmenter: Segmenter, image: NDArray[np.uint8]) -> Reference:
    size_wh = (image.shape[1], image.shape[0])
    embedding = segmenter.encode(image)
    first = segmenter.decode(embedding, first_prompt(size_wh), multimask=False)
    earlier = first.logits[0] if segmenter.takes_masks else None
    answers = []
    for prompt, multimask in test_prompts(size_wh, earlier, segmenter.max_points):
        masks = segmenter.decode(embedding, prompt, multimask=multimask)
        answers.append(ReferenceAnswer(prompt, multimask, masks.logits, masks.predicted_iou))
    return Reference(image, _embedding(embedding), answers)


def _embedding(embedding: Embedding) -> NDArray[np.float32]:
    image: NDArray[np.float32] = np.asarray(embedding.tensors["embedding"])[0]
    return image
