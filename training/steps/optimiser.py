"""The optimiser: Muon for the kernels of the convolutions, AdamW for everything else."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

WEIGHT_DECAY = 0.02
SMALLEST_SIDE = 16


class Optimiser:
    """`torch.optim.Muon` over the kernels (O, I, h, w) seen as matrices (O, I h w), AdamW over the rest.

    Muon (Jordan et al., 2024) orthogonalises each kernel's momentum, so every direction of it learns
    at the same pace; with steps scaled to AdamW's size one learning rate serves both.
    """

    def __init__(self, model: nn.Module) -> None:
        kernels = [p for p in model.parameters() if is_kernel(p)]
        others = [p for p in model.parameters() if not is_kernel(p)]
        self.kernels = [(p, nn.Parameter(p.detach().view(len(p), -1))) for p in kernels]
        self.muon = torch.optim.Muon(
            [matrix for _, matrix in self.kernels], weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
        )
        groups = [
            {"params": [p for p in others if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98))

    def step(self, rate: float) -> None:
        """Change the weights by their gradients, then forget these."""
        for kernel, matrix in self.kernels:
            matrix.grad = None if kernel.grad is None else kernel.grad.view_as(matrix)
        for optimiser in (self.muon, self.adam):
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()  # type: ignore[no-untyped-call]  # Muon.step has no annotations
            optimiser.zero_grad(set_to_none=True)
        for kernel, _ in self.kernels:
            kernel.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` wants."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the moments of an earlier run."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def is_kernel(parameter: nn.Parameter) -> bool:
    """Of a convolution wide enough to be a matrix worth orthogonalising."""
    return parameter.ndim == 4 and min(len(parameter), parameter[0].numel()) >= SMALLEST_SIDE
