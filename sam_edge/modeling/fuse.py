"""Parallel linear branches and normalisations as one plain convolution, for deployment.

Exact algebra: only the rounding of sums differs. Fused weights are computed in float64 and rounded once.
Source: Ding et al., "RepVGG" (2021).
"""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@runtime_checkable
class Fusable(Protocol):
    """A module that has a plainer equal in evaluation mode."""

    def fuse(self) -> nn.Module:
        """The equal; the module stays as it is."""
        ...


def fuse(module: nn.Module) -> nn.Module:
    """`module` with every Fusable below it replaced by its plain equal.

    The given module is left as it is, and what is not replaced is shared with it: no weights are doubled.
    """
    if isinstance(module, Fusable):
        return module.fuse()
    parts = {name: fuse(child) for name, child in module.named_children()}
    if all(parts[name] is child for name, child in module.named_children()):
        return module
    twin = copy.copy(module)
    twin._modules = {**module._modules, **parts}
    return twin


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalisation with running statistics does to each channel: gain (C) and shift (C), float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return gain, norm.bias.double() - norm.running_mean.double() * gain


def depthwise_conv(kernel: Tensor, centre: Tensor, bias: Tensor, dtype: torch.dtype) -> nn.Conv2d:
    """The 3x3 depthwise convolution that is the sum of two.

    Args:
        kernel: (C, 1, 3, 3).
        centre: (C, 1, 1, 1), added to the middle of the kernel: a 1x1 convolution, or 1 for an identity.
        bias: (C).
        dtype: of the result's weights.
    """
    channels = kernel.shape[0]
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, device="meta")
    conv.weight = frozen(kernel + F.pad(centre, (1, 1, 1, 1)), dtype)
    conv.bias = frozen(bias, dtype)
    return conv


def frozen(values: Tensor, dtype: torch.dtype) -> nn.Parameter:
    """`values` of any shape as a parameter of that type that does not learn."""
    return nn.Parameter(values.detach().to(dtype), requires_grad=False)
