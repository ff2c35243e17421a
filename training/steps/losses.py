"""What training minimises: the masks, the best of the three, and the honesty of the predicted IoU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SINGLE, FIRST_OF_THREE = 0, 1
CHOICE_SHARPNESS = 20.0


@dataclass(frozen=True)
class RoundWeights:
    """How much the single mask and the three count, per prompt (N,)."""

    single: Tensor
    three: Tensor


def mask_errors(logits: Tensor, wanted: Tensor) -> Tensor:
    """BCE and dice of every mask: `logits` (N, K, h, w), `wanted` (N, 1, h, w) in 0..1 -> (N, K).

    BCE is divided by the object's length relative to the crop's: otherwise small objects weigh
    nothing. Plain BCE, not focal: at 20 : 1, focal and dice collapse to empty masks from scratch.
    """
    target = wanted.expand_as(logits)
    size = torch.sqrt(wanted.mean((2, 3)))
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    soft = torch.sigmoid(logits)
    shared = (soft * target).sum((2, 3))
    dice = 1.0 - (2.0 * shared + 1.0) / (soft.sum((2, 3)) + target.sum((2, 3)) + 1.0)
    return bce * 0.8 / (size + 0.1) + dice


def true_iou(logits: Tensor, wanted: Tensor) -> Tensor:
    """IoU of every thresholded mask with the thresholded object: (N, K)."""
    predicted, target = logits > 0, wanted > 0.5
    shared = (predicted & target).sum((2, 3)).float()
    either = (predicted | target).sum((2, 3)).float()
    return shared / either.clamp(min=1.0)


def round_loss(
    logits: Tensor, coarse: Tensor, iou: Tensor, wanted: Tensor, weights: RoundWeights
) -> tuple[Tensor, Tensor]:
    """The loss of one round (scalar) and the true IoU (N, 4).

    Of the three masks the best one learns, and the others a little, so that none of them dies.
    """
    errors = mask_errors(logits, wanted)
    rough = mask_errors(coarse, F.avg_pool2d(wanted, wanted.shape[3] // coarse.shape[3]))
    best = errors[:, FIRST_OF_THREE:].detach().argmin(1, keepdim=True)
    total = torch.zeros_like(errors[:, 0])
    for error, share in ((errors, 1.0), (rough, 0.25)):
        three = error[:, FIRST_OF_THREE:]
        chosen = 0.94 * three.gather(1, best)[:, 0] + 0.06 * three.mean(1)
        total = total + share * (weights.single * error[:, SINGLE] + weights.three * chosen)
    truth = true_iou(logits.detach(), wanted)
    return total.mean() + iou_loss(iou, truth), truth


def iou_loss(iou: Tensor, truth: Tensor) -> Tensor:
    """MSE of the predicted IoU (N, 4), of its differences within the three, and what choosing by it costs.

    The cost is the IoU (N,) lost against the best of the three, when one is drawn by a softmax over the
    predictions: a sharp one, so that it is nearly the choice of the largest.
    """
    difference = iou - truth
    three = difference[:, FIRST_OF_THREE:]
    chance = torch.softmax(iou[:, FIRST_OF_THREE:] * CHOICE_SHARPNESS, dim=1)
    true = truth[:, FIRST_OF_THREE:]
    lost = true.amax(1) - (chance * true).sum(1)
    return 2.0 * (difference**2).mean() + 3.0 * three.var(1, unbiased=False).mean() + lost.mean()
