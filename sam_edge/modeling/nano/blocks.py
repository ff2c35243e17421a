"""The convolutions that every part of nano is built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.fuse import affine, frozen


class RepConv(nn.Module):
    """3x3 convolution with a 1x1 branch and, where shapes allow, a scaled identity; then BN and ReLU.

    The three branches are linear, so their kernels are summed before the convolution runs: the
    training step costs one convolution, and fused it is one plain 3x3 convolution with a bias.
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

    def summed_kernel(self) -> Tensor:
        """The kernel (outputs, inputs, 3, 3) that equals the sum of the branches."""
        centre: Tensor = self.point
        if self.scale is not None:
            centre = centre + torch.diag(self.scale)[:, :, None, None]
        return self.kernel + F.pad(centre, (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(F.conv2d(x, self.summed_kernel(), None, self.stride, 1))
        return F.relu(y) if self.relu else y

    def fuse(self) -> nn.Module:
        """The equal plain convolution, with ReLU where this one has it."""
        conv = _fused(self.summed_kernel(), self.norm, stride=self.stride)
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

    def fuse(self) -> nn.Module:
        """The equal plain convolution."""
        return _fused(self.conv.weight, self.norm, stride=1)


def _fused(kernel: Tensor, norm: nn.BatchNorm2d, *, stride: int) -> nn.Conv2d:
    """The convolution equal to `norm(conv(x, kernel))` with the norm's running statistics."""
    outputs, inputs, size, _ = kernel.shape
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, device="meta")
    gain, shift = affine(norm)
    conv.weight = frozen(kernel * gain[:, None, None, None], kernel.dtype)
    conv.bias = frozen(shift, kernel.dtype)
    return conv
