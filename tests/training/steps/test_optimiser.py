"""Muon and AdamW side by side."""

from __future__ import annotations

import torch
from torch import nn

from sam_edge.modeling.nano.model import build_nano
from sam_edge.training.steps.optimiser import Optimiser, is_kernel


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 24, 3), nn.ReLU(), nn.Conv2d(24, 4, 1))


def step(model: nn.Module, optimiser: Optimiser, seed: int) -> None:
    torch.manual_seed(seed)
    model(torch.randn(2, 16, 8, 8)).square().mean().backward()
    optimiser.step(1e-2)


def test_every_weight_moves_and_gradients_are_forgotten() -> None:
    model = small_model()
    before = [p.detach().clone() for p in model.parameters()]
    step(model, Optimiser(model), 1)
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert new.grad is None


def test_a_kernel_moves_in_all_directions_alike() -> None:
    model = small_model()
    kernel = next(model.parameters())
    before = kernel.detach().clone()
    step(model, Optimiser(model), 1)
    spread = torch.linalg.svdvals((kernel.detach() - before).view(24, -1))
    assert spread[0] < 3 * spread[-1]


def test_it_goes_on_with_its_moments() -> None:
    ours, theirs = small_model(), small_model()
    first, second = Optimiser(ours), Optimiser(theirs)
    for optimiser, model in ((first, ours), (second, theirs)):
        step(model, optimiser, 1)
    third = Optimiser(theirs)
    third.load_state_dict(second.state_dict())
    step(ours, first, 2)
    step(theirs, third, 2)
    assert all(torch.allclose(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_loading_weights_keeps_the_kernels_in_hand() -> None:
    model = small_model()
    optimiser = Optimiser(model)
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    assert optimiser.kernels
    for kernel, matrix in optimiser.kernels:
        assert torch.equal(kernel.view_as(matrix), matrix)


def test_most_of_nano_is_kernels() -> None:
    model = build_nano()
    kernels = sum(p.numel() for p in model.parameters() if is_kernel(p))
    assert kernels > 0.9 * sum(p.numel() for p in model.parameters())
