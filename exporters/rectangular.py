"""Inputs of one aspect: a 16:9 frame padded to a square wastes 44 % of the encoder's work.

The positional encodings of the square model are cropped, never rescaled: the image is taken as the top-left
part of the square, so coordinates keep their meaning. What is lost is what the image's tokens
saw of the padding, and that is measured here, mask by mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize
from sam_edge.imaging.image import encoder_input
from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import Masks, choose_multimask
from sam_edge.modeling.exportable import Exportable
from sam_edge.modeling.families import Family
from sam_edge.prompt import Prompt
from sam_edge.synthetic.scene import MAX_SIDE, MIN_SIDE, Scene

COST_IMAGES = 4
GRID = 3
"""Single points on an image: GRID x GRID."""
BOXES, SETS = 4, 3
"""The other prompts on an image: boxes, and sets of three points."""


@dataclass(frozen=True)
class Seen:
    """One image through a model: its answer to each prompt, and the encoder's work."""

    answers: list[NDArray[np.bool_]]
    """(H, W) each, the mask that the model thinks best."""
    encoder_flops: int


def fixed_input(family: str, own: InputSize, input_wh: tuple[int, int]) -> InputSize:
    """A family's input with sides that never change.

    Args:
        family: its name, for messages.
        own: its own rule; where that is square, no side may be longer.
        input_wh: (width, height) in pixels.

    Returns:
        `own` itself if those are its sides already.

    Raises:
        InputError: no multiples of what the family needs, larger than its square, or a family that wastes
            nothing on padding.
    """
    asked = f"--input {input_wh[0]}x{input_wh[1]}"
    if input_wh == own.sides_wh:
        return own
    if own.fit == "squash":
        raise InputError(
            f"{asked}: {family} stretches frames over its square, no padding is wasted", hint="leave it out"
        )
    longest = own.long_side if own.square else MAX_SIDE
    fits = min(1.0, longest / max(1, *input_wh))
    width, height = (_nearest(side * fits, own.multiple, longest) for side in input_wh)
    if max(input_wh) > longest:
        raise InputError(
            f"{asked} is larger than the {longest} that {family} takes", hint=f"take {width}x{height}"
        )
    if (width, height) != input_wh:
        if min(input_wh) < MIN_SIDE:
            raise InputError(f"{asked} is smaller than {MIN_SIDE} pixels", hint=f"take {width}x{height}")
        raise InputError(
            f"{asked}: sides of {family} are multiples of {own.multiple}", hint=f"take {width}x{height}"
        )
    return replace(own, long_side=max(input_wh), square=False, fixed_wh=input_wh)


def shaped(name: str, family: Family, input_wh: tuple[int, int] | None) -> Family:
    """The family with an input of those sides (width, height); None leaves it as it is.

    Raises:
        InputError: see `fixed_input`.
    """
    if input_wh is None:
        return family
    return replace(family, input_size=fixed_input(name, family.input_size, input_wh))


def as_exportable(model: nn.Module, family: Family) -> Exportable:
    """A model as graphs of the family's input size."""
    fixed_wh = family.input_size.fixed_wh
    return family.exportable(model) if fixed_wh is None else family.exportable(model, input_hw=fixed_wh[::-1])


def measure_cost(
    model: Exportable, own: Family, chosen: Family, images: Sequence[NDArray[np.uint8]] | None = None
) -> dict[str, float]:
    """What an input of fixed sides costs in masks and saves in work, against the family's own; in PyTorch.

    Args:
        model: takes inputs of both sizes.
        own: the family as it is.
        chosen: what `shaped` made of it.
        images: (H, W, 3) uint8 RGB each; None takes generated scenes of the fixed sides' aspect.

    Returns:
        Nothing if both are the same. Else `square_mask_iou_mean` and `square_mask_iou_p1` (1st percentile)
        between the masks that a user gets of both, `prompts`, how many they were, and `encoder_gflop` and
        `square_encoder_gflop`. "Square" is the family's own input, which only nano's is not.
    """
    fixed_wh = chosen.input_size.fixed_wh
    if fixed_wh is None:
        return {}
    ious: list[float] = []
    work = [0, 0]
    for seed, image in enumerate(scenes(fixed_wh) if images is None else images):
        asked = prompts((image.shape[1], image.shape[0]), seed)
        seen = [_look(model, family, image, asked) for family in (chosen, own)]
        ious += [mask_iou(*pair) for pair in zip(seen[0].answers, seen[1].answers, strict=True)]
        work = [max(most, one.encoder_flops) for most, one in zip(work, seen, strict=True)]
    return {
        "square_mask_iou_mean": float(np.mean(ious)),
        "square_mask_iou_p1": float(np.percentile(ious, 1)),
        "prompts": float(len(ious)),
        "encoder_gflop": work[0] / 1e9,
        "square_encoder_gflop": work[1] / 1e9,
    }


def scenes(size_wh: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Generated images of that (width, height), as far as scenes come in that shape."""
    width, height = size_wh
    width, height = max(width, -(-height // 2)), max(height, -(-width // 4))
    return [Scene(seed, width, height, duration_s=0.1).frame(0).image for seed in range(COST_IMAGES)]


def prompts(frame_wh: tuple[int, int], seed: int) -> list[Prompt]:
    """Single points, boxes and sets of points all over an image of that size, the same for each seed."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), -1).reshape(-1, 2)
    points = (cells + rng.random(cells.shape)) / GRID * frame_wh
    corners = np.sort(rng.random((BOXES, 2, 2)), axis=1)
    # No thinner than a tenth of the image.
    boxes = (corners * [[[0.9], [0.9]]] + [[[0.0], [0.1]]]) * frame_wh
    sets = rng.random((SETS, 3, 2)) * frame_wh
    return [
        *(Prompt.points([point]) for point in points),
        *(Prompt.box(box.reshape(4)) for box in boxes),
        *(Prompt.points(three, [1, 1, 0]) for three in sets),
    ]


def _look(model: Exportable, family: Family, image: NDArray[np.uint8], asked: Sequence[Prompt]) -> Seen:
    view = family.input_size.view((image.shape[1], image.shape[0]))
    tensor = torch.from_numpy(encoder_input(image, view, family.preprocess))
    answers = []
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            features = model.encode(tensor)
        for prompt in asked:
            coords, labels = prompt.slots(view, prompt.tokens)
            logits, iou = model.decode(features, torch.from_numpy(coords), torch.from_numpy(labels), None)
            picked = slice(1, None) if choose_multimask(prompt.tokens) else slice(0, 1)
            masks = Masks(logits[0, picked].numpy(), iou[0, picked].numpy(), view)
            answers.append(masks.best().binary[0])
    return Seen(answers, counter.get_total_flops())


def _nearest(side: float, multiple: int, longest: int) -> int:
    """The nearest side that is allowed."""
    nearest = round(side / multiple) * multiple
    least = -(-MIN_SIDE // multiple) * multiple
    return min(max(nearest, least), longest // multiple * multiple)
