"""The convolution that every part of nano is built from, and its plain form for deployment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RepConv(nn.Module):
    """3x3 convolution with a 1x1 branch and, where shapes allow, a scaled identity; then BN and ReLU.

    The three branches are linear, so their kernels are summed before the convolution runs: the
    training step costs one convolution, and `fused` is one plain 3x3 convolution with a bias.
    Structural re-parameterisation after RepVGG (Ding et al., 2021); summing the kernels already in
    training after OREPA (Hu et al., 2022).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, relu: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.relu = relu
        self.kernel = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.point = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        nn.init.kaiming_normal_(self.kernel, nonlinearity="relu")
        nn.init.kaiming_normal_(self.point, nonlinearity="relu")
        with torch.no_grad():
            self.kernel.mul_(0.7)
            self.point.mul_(0.5)
        identity = inputs == outputs and stride == 1
        self.scale = nn.Parameter(torch.ones(outputs)) if identity else None
        self.norm = nn.BatchNorm2d(outputs)

    def merged_kernel(self) -> Tensor:
        """The kernel (outputs, inputs, 3, 3) that equals the sum of the branches."""
        centre: Tensor = self.point
        if self.scale is not None:
            centre = centre + torch.diag(self.scale)[:, :, None, None]
        return self.kernel + F.pad(centre, (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(F.conv2d(x, self.merged_kernel(), None, self.stride, 1))
        return F.relu(y) if self.relu else y

    def fused(self) -> nn.Module:
        """The equal plain convolution, with ReLU where this one has it."""
        conv = fold_norm(self.merged_kernel(), self.norm, stride=self.stride)
        return nn.Sequential(conv, nn.ReLU()) if self.relu else conv


class PointConv(nn.Module):
    """1x1 convolution and BN, without an activation: the projections that are added to others."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y

    def fused(self) -> nn.Module:
        """The equal plain convolution."""
        return fold_norm(self.conv.weight, self.norm, stride=1)


def fold_norm(kernel: Tensor, norm: nn.BatchNorm2d, *, stride: int) -> nn.Conv2d:
    """A plain convolution equal to `norm(conv(kernel))` with the norm's running statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    outputs, inputs, size, _ = kernel.shape
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2)
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(kernel * gain[:, None, None, None])
        conv.bias.copy_(norm.bias - norm.running_mean * gain)
    return conv


def deploy(module: nn.Module) -> nn.Module:
    """Replace every RepConv and PointConv below `module` by its plain form, in place."""
    for name, child in module.named_children():
        if isinstance(child, RepConv | PointConv):
            setattr(module, name, child.fused().to(next(child.parameters()).device))
        else:
            deploy(child)
    return module
