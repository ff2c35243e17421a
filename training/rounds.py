"""The interactive rounds of one training step: a first prompt, then corrections of the answer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sam_edge.modeling.nano import Nano

from .losses import FIRST_OF_THREE, RoundWeights, round_loss
from .simulate import BOTTOM_RIGHT, EMPTY, correction

STRIDE = 4


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 RGB (B, 3, H, W) to the encoder's input."""
    return (images.float() - mean[None, :, None, None]) / std[None, :, None, None]


def answer(logits: Tensor, iou: Tensor, single: Tensor) -> Tensor:
    """The mask (N, 1, h, w) shown to the user: the single one where `single` (N,), else the surest."""
    surest = iou[:, FIRST_OF_THREE:].argmax(1) + FIRST_OF_THREE
    index = torch.where(single, torch.zeros_like(surest), surest)
    return logits.gather(1, index[:, None, None, None].expand(-1, 1, *logits.shape[2:]))


def add_corrections(
    coords: Tensor, labels: Tensor, shown: Tensor, wanted: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """`coords` (N, S, 2) and `labels` (N, S) with one more click each, in their first empty slot."""
    predicted = (shown[:, 0] > 0).cpu().numpy()
    target = (wanted[:, 0] > 0.5).cpu().numpy()
    coords, labels = coords.clone(), labels.clone()
    for k, (mask, truth) in enumerate(zip(predicted, target, strict=True)):
        free = torch.nonzero(labels[k] == EMPTY)
        if not len(free):
            continue
        x, y, label = correction(mask, truth, rng)
        spot = np.array([x, y]) * STRIDE + rng.uniform(0, STRIDE - 1, 2)
        coords[k, free[0, 0]] = torch.as_tensor(spot, dtype=coords.dtype)
        labels[k, free[0, 0]] = label
    return coords, labels


def interactive_loss(
    model: Nano, images: Tensor, batch: dict[str, Tensor], rounds: int, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The summed loss of `rounds` rounds on normalised `images`, and the numbers worth logging."""
    features = model.encoder(images)
    coords, labels = batch["coords"], batch["labels"]
    per_picture = len(coords) // len(images)
    features = {name: x.repeat_interleave(per_picture, 0) for name, x in features.items()}
    wanted = F.avg_pool2d(batch["masks"][:, None].float(), STRIDE)
    previous, has_mask = torch.zeros_like(wanted), torch.zeros_like(wanted[:, 0, 0, 0])
    boxed = (labels == BOTTOM_RIGHT).any(1)
    total = torch.zeros((), device=images.device)
    numbers: dict[str, float] = {}
    for index in range(rounds):
        logits, iou, coarse = model.decoder.forward_all(features, coords, labels, previous, has_mask)
        logits, iou, coarse = logits.float(), iou.float(), coarse.float()
        several = boxed if index == 0 else torch.ones_like(boxed)
        weights = RoundWeights(single=torch.where(several, 1.0, 0.3), three=torch.where(several, 0.4, 1.0))
        loss, truth = round_loss(logits, coarse, iou, wanted, weights)
        total = total + loss * (1.0 if index == 0 else 0.6)
        shown = answer(logits, iou, several)
        if index == 0:
            numbers = _numbers(truth, iou.detach(), boxed)
        if index + 1 < rounds:
            coords, labels = add_corrections(coords, labels, shown, wanted, rng)
            previous = shown.detach()
            has_mask = torch.as_tensor(
                rng.random(len(has_mask)) < 0.85, dtype=torch.float32, device=images.device
            )
    return total, numbers


def _numbers(truth: Tensor, iou: Tensor, boxed: Tensor) -> dict[str, float]:
    three = truth[:, FIRST_OF_THREE:]
    surest = three.gather(1, iou[:, FIRST_OF_THREE:].argmax(1, keepdim=True))[:, 0]
    point = ~boxed

    def mean(values: Tensor, keep: Tensor) -> float:
        return float(values[keep].mean()) if bool(keep.any()) else float("nan")

    return {
        "point": mean(surest, point),
        "oracle": mean(three.amax(1), point),
        "box": mean(truth[:, 0], boxed),
    }
