"""The interactive rounds of one training step: a first prompt, then corrections of the answer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sam_edge.modeling.nano.model import Nano
from sam_edge.training.data.simulate import BOTTOM_RIGHT, correction

from .losses import FIRST_OF_THREE, RoundWeights, round_loss

STRIDE = 4
MOST_ROUNDS = 11
ROUND_SHARES = (0.45, 0.33, 0.14, 0.08)
"""Of one, two, three and more rounds. The first answer is the hardest, and later ones cost as much."""
WITHOUT_CLICK = 0.08


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
    """`coords` (N, S, 2) and `labels` (N, S) with one slot more, for a click on what `shown` has wrong."""
    predicted = (shown[:, 0] > 0).cpu().numpy()
    target = (wanted[:, 0] > 0.5).cpu().numpy()
    spots = np.zeros((len(target), 1, 2), np.float32)
    meant = np.zeros((len(target), 1), np.float32)
    for k, (mask, truth) in enumerate(zip(predicted, target, strict=True)):
        x, y, meant[k, 0] = correction(mask, truth, rng)
        spots[k, 0] = np.array([x, y]) * STRIDE + rng.uniform(0, STRIDE - 1, 2)
    more = torch.from_numpy(spots).to(coords), torch.from_numpy(meant).to(labels)
    return torch.cat([coords, more[0]], dim=1), torch.cat([labels, more[1]], dim=1)


def draw_rounds(rng: np.random.Generator) -> int:
    """How many rounds a step has: mostly one or two, now and then up to eleven as SAM trains."""
    few = rng.choice(4, p=ROUND_SHARES)
    return int(few) + 1 if few < 3 else int(rng.integers(4, MOST_ROUNDS + 1))


def learns(index: int, rounds: int) -> bool:
    """Whether round `index` is learned from: the first and the last two; between them answers only."""
    return index == 0 or index >= rounds - 2


def interactive_loss(
    model: Nano, features: dict[str, Tensor], batch: dict[str, Tensor], rounds: int, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Ask for masks, correct them with a click, ask again: the summed loss of `rounds` rounds.

    Args:
        model: whose decoder is asked.
        features: of the encoder, (B, C, h, w) each.
        batch: see `Batches`; P prompts, the same number for each image.
        rounds: how often it is asked.
        rng: draws the corrections.

    Returns:
        The loss (), and the mean IoU of the first round: `point` (the mask predicted to be best), `oracle` (the
        best mask) and `box`, NaN where the batch has no such prompt.
    """
    coords, labels = batch["coords"], batch["labels"]
    per_image = len(coords) // len(features["embedding"])
    features = {name: x.repeat_interleave(per_image, 0) for name, x in features.items()}
    wanted = F.avg_pool2d(batch["masks"][:, None].float(), STRIDE)
    previous, has_mask = torch.zeros_like(wanted), torch.zeros_like(wanted[:, 0, 0, 0])
    boxed = (labels == BOTTOM_RIGHT).any(1)
    total = torch.zeros((), device=wanted.device)
    numbers: dict[str, float] = {}
    for index in range(rounds):
        with torch.set_grad_enabled(learns(index, rounds)):
            answers = model.decoder.forward_all(features, coords, labels, previous, has_mask)
        logits, iou, coarse = (x.float() for x in answers)
        several = boxed if index == 0 else torch.ones_like(boxed)
        shown = answer(logits, iou, several)
        if learns(index, rounds):
            weights = RoundWeights(torch.where(several, 1.0, 0.3), torch.where(several, 0.4, 1.0))
            loss, truth = round_loss(logits, coarse, iou, wanted, weights)
            total = total + loss * (1.0 if index == 0 else 0.6)
        if index == 0:
            numbers = _numbers(truth, iou.detach(), boxed)
        if index + 1 < rounds:
            previous = shown.detach()
            if rng.random() < WITHOUT_CLICK:
                has_mask = torch.ones_like(has_mask)
                continue
            coords, labels = add_corrections(coords, labels, shown, wanted, rng)
            has_mask = torch.as_tensor(rng.random(len(has_mask)) < 0.85).to(has_mask)
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
