"""The losses prefer what they should."""

from __future__ import annotations

import pytest
import torch

from sam_edge.training.steps.losses import RoundWeights, iou_loss, mask_errors, round_loss, true_iou


def wanted() -> torch.Tensor:
    target = torch.zeros(2, 1, 32, 32)
    target[:, :, 8:24, 4:20] = 1.0
    return target


def test_a_better_mask_has_a_smaller_error() -> None:
    target = wanted()
    perfect = (target * 2 - 1) * 8
    shifted = perfect.roll(4, dims=3)
    empty = torch.full_like(perfect, -8.0)
    errors = mask_errors(torch.cat([perfect, shifted, empty], dim=1), target)[0]
    assert errors[0] < 0.05 < errors[1] < errors[2]


def test_true_iou_is_exact() -> None:
    target = wanted()
    half = target.clone()
    half[:, :, 8:16] = 0.0
    logits = torch.cat([target, half, 1 - target, torch.zeros_like(target)], 1) * 2 - 1
    assert torch.allclose(true_iou(logits, target)[0], torch.tensor([1.0, 0.5, 0.0, 0.0]))


def test_only_the_best_of_three_learns_much() -> None:
    target = wanted()
    perfect = (target * 2 - 1) * 2
    logits = torch.cat([-perfect, -perfect, perfect, -perfect], dim=1).requires_grad_()
    weights = RoundWeights(single=torch.zeros(2), three=torch.ones(2))
    coarse, iou = torch.zeros(2, 4, 8, 8), torch.full((2, 4), 0.5)
    loss, truth = round_loss(logits, coarse, iou, target, weights)
    loss.backward()
    assert logits.grad is not None
    sizes = logits.grad.abs().sum((0, 2, 3))
    assert sizes[0] == 0
    assert truth[0].argmax() == 2
    assert sizes[1] > 0
    assert (
        sizes[1] < 0.1 * torch.autograd.grad(mask_errors(logits[:, 1:2], target).mean(), logits)[0].abs().sum()
    )


def test_the_iou_loss_punishes_a_wrong_order_more_than_an_offset() -> None:
    truth = torch.tensor([[0.5, 0.2, 0.5, 0.8]])
    offset = truth + 0.1
    swapped = truth + torch.tensor([[0.1, 0.1, -0.1, -0.1]])
    assert iou_loss(truth, truth) < 0.02  # a soft choice is never quite free
    assert iou_loss(swapped, truth) > iou_loss(offset, truth)


def test_choosing_the_wrong_mask_costs_what_it_loses() -> None:
    truth = torch.tensor([[0.5, 0.9, 0.2, 0.1]])
    right, wrong = truth.clone(), torch.tensor([[0.5, 0.2, 0.9, 0.1]])
    assert float(iou_loss(right, truth)) < 1e-3
    difference = wrong - truth
    square = 2.0 * (difference**2).mean() + 3.0 * difference[:, 1:].var(1, unbiased=False).mean()
    assert float(iou_loss(wrong, truth)) == pytest.approx(float(square) + 0.7, abs=1e-3)
