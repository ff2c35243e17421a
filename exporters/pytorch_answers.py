"""The PyTorch model's answers, with which the gate compares engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sam_edge.bundle.manifest import Manifest
from sam_edge.errors import InputError
from sam_edge.fidelity.differences import ReferenceAnswer, mask_ious
from sam_edge.fidelity.gate import Reference, first_prompt, test_prompts
from sam_edge.fidelity.self_test import self_test_image, self_test_prompts, thin
from sam_edge.geometry import View
from sam_edge.imaging.image import encoder_input
from sam_edge.masks import choose_multimask
from sam_edge.modeling.checkpoint import check_readable, load_model
from sam_edge.modeling.exportable import Exportable, GraphSource
from sam_edge.modeling.families import Family, find_family
from sam_edge.progress import Progress, silent
from sam_edge.prompt import Prompt
from sam_edge.storage.files import sha256

from .rectangular import as_exportable


def references(
    model: Exportable, family: Family, images: Sequence[NDArray[np.uint8]], max_points: int
) -> list[Reference]:
    """PyTorch's answers to every kind of prompt on images (H, W, 3) uint8 RGB.

    Args:
        max_points: how many points the exported model takes beside a box.
    """
    with torch.inference_mode():
        return [_expected(model, family, image, max_points) for image in images]


def from_checkpoint(
    checkpoint: Path, manifest: Manifest, images: Sequence[NDArray[np.uint8]], progress: Progress = silent
) -> list[Reference]:
    """PyTorch's answers to images (H, W, 3) uint8 RGB, of the model that a folder was exported from.

    Frames are prepared as the family says and not as the manifest does, which is judged as well.

    Raises:
        InputError: another checkpoint.
        CheckpointError: it cannot be read.
    """
    check_readable(checkpoint)
    # Before the weights are read, which takes longer.
    if sha256(checkpoint) != manifest.checkpoint_sha256:
        raise InputError(
            f"{manifest.name} was not exported from {checkpoint}", hint="give the checkpoint that it was"
        )
    name, model = load_model(checkpoint, manifest.family)
    family = replace(find_family(name), input_size=manifest.input_size)
    exportable = as_exportable(model, family)
    max_points = max(graph.slots for graph in manifest.decoders.values()) - 2
    found = []
    for index, image in enumerate(images, 1):
        found += references(exportable, family, [image], max_points)
        progress("running PyTorch", index / len(images))
    return found


def float64_mask_iou(checkpoint: str | Path, name: str, family: Family, expected: Reference) -> float:
    """Mean IoU of PyTorch's masks of one image with those that it computes in float64.

    Where PyTorch's own float32 is not accurate, no engine can be.

    Args:
        family: of that name, with the input size that was chosen.
    """
    exportable = as_exportable(load_model(checkpoint, name)[1].double(), family)
    view = family.input_size.view((expected.image.shape[1], expected.image.shape[0]))
    image = torch.from_numpy(encoder_input(expected.image, view, family.preprocess)).double()
    ious = []
    with torch.inference_mode():
        features = exportable.encode(image)
        for one in expected.answers:
            found = answer(exportable, features, view, one.prompt, multimask=one.multimask)
            ious += mask_ious(found.logits, one)
    return float(np.mean(ious))


def most_points(sources: Sequence[GraphSource]) -> int:
    """How many points the largest exported decoder takes beside a box."""
    return max(source.inputs["point_labels"].shape[1] for source in sources if source.role == "decoder") - 2


def self_test_reference(model: Exportable, family: Family, max_points: int) -> Reference:
    """PyTorch's answers to the self test of a model folder, as far as they are stored.

    Args:
        max_points: how many points the exported model takes beside a box.
    """
    size = family.input_size
    image = self_test_image(size)
    view = size.view((image.shape[1], image.shape[0]))
    with torch.inference_mode():
        features = model.encode(torch.from_numpy(encoder_input(image, view, family.preprocess)))
        answers = [
            answer(model, features, view, prompt, multimask=multimask)
            for prompt, multimask in self_test_prompts(size, max_points, takes_masks=model.takes_masks)
        ]
    return thin(Reference(image, features["embedding"][0].numpy(), answers))


def _expected(model: Exportable, family: Family, image: NDArray[np.uint8], max_points: int) -> Reference:
    size_wh = (image.shape[1], image.shape[0])
    view = family.input_size.view(size_wh)
    features = model.encode(torch.from_numpy(encoder_input(image, view, family.preprocess)))
    first = answer(model, features, view, first_prompt(size_wh), multimask=False)
    earlier = first.logits[0] if model.takes_masks else None
    answers = [
        answer(model, features, view, prompt, multimask=multimask)
        for prompt, multimask in test_prompts(size_wh, earlier, max_points)
    ]
    return Reference(image, features["embedding"][0].numpy(), answers)


def answer(
    model: Exportable,
    features: Mapping[str, torch.Tensor],
    view: View,
    prompt: Prompt,
    *,
    multimask: bool | None,
) -> ReferenceAnswer:
    """PyTorch's answer to one prompt on an encoded image."""
    coords, labels = prompt.slots(view, prompt.tokens)
    kind = features["embedding"].dtype
    points = torch.from_numpy(coords).to(kind), torch.from_numpy(labels).to(kind)
    mask = None if prompt.mask_logits is None else torch.from_numpy(prompt.mask_logits)[None, None].to(kind)
    logits, iou = model.decode(features, *points, mask)
    several = choose_multimask(prompt.tokens) if multimask is None else multimask
    picked = slice(1, None) if several else slice(0, 1)
    return ReferenceAnswer(prompt, multimask, logits[0, picked].numpy(), iou[0, picked].numpy())
