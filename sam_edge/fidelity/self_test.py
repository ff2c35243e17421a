"""The self test of a model folder: one image, a few prompts, and what PyTorch answered to them at export.

Only the answers are stored, and of them only some values. Image and prompts are computed again with integers,
so that they are the same on every machine; the image has the encoder's size, so that nothing is resized.
Whoever changes image or prompts raises VERSION: answers to others are then ignored.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Precision
from sam_edge.errors import BundleError, FidelityError
from sam_edge.fidelity.differences import ReferenceAnswer
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.gate import Reference, measure
from sam_edge.fidelity.result import LIMITS, FidelityResult, Limits
from sam_edge.geometry import InputSize
from sam_edge.prompt import Prompt
from sam_edge.segmenter import MASK_STRIDE, Segmenter
from sam_edge.sessions.session import SessionLoader

ANSWERS = "pytorch.npz"
"""The file in a model folder."""
VERSION = 1
SIDE = 32
"""Rows and columns of the logits that are kept, at most."""
VALUES = 2048
"""Values of the embedding that are kept, about."""


def self_test_limits(precision: Precision) -> Limits:
    """Limits in the self test, whose masks have so few pixels that a single one weighs much.

    Logits and embedding have the usual limits, and are what shows a wrong engine here.
    """
    mean, group, p1 = {"fp32": (0.995, 0.99, 0.9), "fp16": (0.98, 0.97, 0.7)}[precision]
    return replace(
        LIMITS[precision], mask_iou_mean=mean, mask_iou_group=group, mask_iou_p1=p1, frame_mask_iou=group
    )


def self_test_image(size: InputSize) -> NDArray[np.uint8]:
    """Waves, with a disc and a block on them: (H, W, 3) uint8 RGB, as large as the encoder's image."""
    whole = (size.long_side, size.long_side * 3 // 4 // size.multiple * size.multiple)
    width, height = (side // size.encoder_stride for side in size.sides_wh or whole)
    y, x = np.mgrid[:height, :width]
    image = np.stack(
        [np.abs((right * x + down * y) % 510 - 255) for right, down in ((3, 1), (2, 5), (7, 3))], axis=-1
    )
    disc = (x - width * 2 // 5) ** 2 + (y - height * 2 // 5) ** 2 < (height // 5) ** 2
    block = (abs(x - width * 3 // 4) < width // 8) & (abs(y - height * 3 // 4) < height // 8)
    image[disc] = image[disc] // 4 + (180, 40, 20)
    image[block] = image[block] // 4 + (10, 90, 190)
    return image.astype(np.uint8)


def self_test_input_wh(size: InputSize) -> tuple[int, int]:
    """Size (width, height) of the encoder's input for the self test's image, in pixels."""
    height, width = self_test_image(size).shape[:2]
    return size.view((width, height)).input_wh


def self_test_prompts(
    size: InputSize, max_points: int, *, takes_masks: bool
) -> list[tuple[Prompt, bool | None]]:
    """One prompt for every graph, with its `multimask` as `Segmenter.decode` takes it.

    Args:
        size: the model's input.
        max_points: how many points the model takes beside a box.
        takes_masks: whether a mask may be part of a prompt.
    """
    image = self_test_image(size)
    height, width = image.shape[:2]
    point = (width * 2 // 5, height * 2 // 5)
    box = (width * 5 // 8, height * 5 // 8, width * 7 // 8, height * 7 // 8)
    order = range(max_points)
    points = [((2 * i + 1) * width // (2 * max_points), (i * 7 % 11 + 1) * height // 12) for i in order]
    asked: list[tuple[Prompt, bool | None]] = [
        (Prompt.points([point]), None),
        (Prompt.box(box), False),
        (Prompt.points(points, [i % 3 != 2 for i in order], box=box), None),
    ]
    if takes_masks:
        across, down = (side // MASK_STRIDE for side in size.view((width, height)).input_wh)
        y, x = np.mgrid[:down, :across]
        tent = (across // 4 - abs(x - across * 2 // 5) - abs(y - down * 2 // 5)) / 8
        asked.append((Prompt.points([point], mask_logits=tent), None))
    return asked


def thin(expected: Reference) -> Reference:
    """The same with the values that a model folder keeps: at most SIDE rows and columns of logits, and about
    VALUES of the embedding."""
    stride = -(-max(expected.answers[0].logits.shape) // SIDE)
    # An odd step takes values of every column.
    step = expected.embedding.size // VALUES | 1
    return Reference(
        expected.image,
        expected.embedding.ravel()[::step],
        [replace(answer, logits=answer.logits[:, ::stride, ::stride]) for answer in expected.answers],
        logits_stride=stride,
        embedding_stride=step,
    )


def write_self_test(expected: Reference, folder: Path) -> None:
    """Write the answers that `thin` returned into a folder, as the file ANSWERS."""
    arrays: dict[str, Any] = {
        "version": VERSION,
        "strides": [expected.logits_stride, expected.embedding_stride],
        "embedding": expected.embedding,
    }
    for index, answer in enumerate(expected.answers):
        arrays |= {f"logits{index}": answer.logits, f"iou{index}": answer.predicted_iou}
    np.savez_compressed(folder / ANSWERS, **arrays)


def read_self_test(bundle: Bundle, segmenter: Segmenter) -> Reference | None:
    """PyTorch's answers on the self test's image; None where the folder has none.

    Args:
        bundle: the model folder.
        segmenter: any engine of the model.

    Raises:
        BundleError: the file is damaged, or holds something else.
    """
    if ANSWERS not in bundle.manifest.files:
        return None
    path = bundle.file(ANSWERS)
    size = bundle.manifest.input_size
    asked = self_test_prompts(size, segmenter.max_points, takes_masks=segmenter.takes_masks)
    try:
        with np.load(path, allow_pickle=False) as stored:
            if stored["version"] != VERSION:
                return None
            answers = [
                ReferenceAnswer(prompt, multimask, stored[f"logits{i}"], stored[f"iou{i}"])
                for i, (prompt, multimask) in enumerate(asked)
            ]
            stride, step = (int(number) for number in stored["strides"])
            _check_answers(answers, stored["embedding"], stride, step)
            return Reference(self_test_image(size), stored["embedding"], answers, stride, step)
    except (BadZipFile, KeyError, TypeError, ValueError, OSError, EOFError, MemoryError) as error:
        raise BundleError(
            f"{path} does not hold answers of PyTorch ({error})", path=path, hint="export the model again"
        ) from error


def _check_answers(
    answers: list[ReferenceAnswer], embedding: NDArray[np.float32], stride: int, step: int
) -> None:
    """Raise ValueError for arrays that cannot be compared with anything."""
    if stride < 1 or step < 1:
        raise ValueError(f"strides are {stride} and {step}")
    for answer in answers:
        if (answer.logits.ndim, answer.predicted_iou.ndim) != (3, 1) or not answer.logits.size:
            raise ValueError(f"logits have shape {answer.logits.shape}")
    if any(array.dtype.kind != "f" for array in (embedding, *(answer.logits for answer in answers))):
        raise ValueError("values are not floating point")


def run_self_test(bundle: Bundle, engine: EngineSpec, loader: SessionLoader) -> FidelityResult | None:
    """Compare an engine with PyTorch's answers in its folder; None where there are none.

    Raises:
        FidelityError: it differs by more than the self test allows.
    """
    frames = Frames(loader)
    with Segmenter(bundle, frames, engine=engine) as segmenter:
        self_test = read_self_test(bundle, segmenter)
        if self_test is None:
            return None
        found = measure(segmenter, [self_test], frames=frames)
    limits = self_test_limits(engine.precision)
    if violations := found.violations(limits):
        raise FidelityError(f"{engine} answers otherwise than PyTorch did at export: {', '.join(violations)}")
    return found.judged(limits, against_onnx=False)
