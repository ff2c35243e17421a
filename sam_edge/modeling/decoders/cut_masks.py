"""SAM's mask head on image tokens as they lie: every upscaling is a product, no map is transposed.

A transposed convolution whose stride equals its kernel gives each token four of its own: one matrix
product, channels last, as the normalisation wants them. Only the finished logits are put in image order.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.decoders.mask_decoder import MASKS, Decoder


class MaskHead(nn.Module):
    """Image tokens (P, h * w, C) and filters (P, 4, C / 8) of P prompts -> logits (P, 4, 4h, 4w)."""

    def __init__(self, decoder: Decoder, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        first, self.norm, second = decoder.upscaling()
        self.first_weight, self.first_bias = _as_product(first)
        self.second_weight, self.second_bias = _as_product(second)

    def forward(self, image: Tensor, filters: Tensor) -> Tensor:
        height, width = self.grid
        prompts = image.shape[0]
        # The products take the rows of all prompts at once; the norm may look at a whole map.
        x = (image.flatten(0, 1) @ self.first_weight + self.first_bias).reshape(prompts, height * width * 4, -1)
        x = F.gelu(self.norm.channels_last(x)).flatten(0, 1)
        x = F.gelu(x @ self.second_weight + self.second_bias).reshape(prompts, height * width * 16, -1)
        logits = (filters @ x.transpose(1, 2)).reshape(prompts, MASKS, height, width, 2, 2, 2, 2)
        logits = logits.permute(0, 1, 2, 4, 6, 3, 5, 7)
        return logits.reshape(prompts, MASKS, 4 * height, 4 * width)


def _as_product(layer: nn.ConvTranspose2d) -> tuple[nn.Buffer, nn.Buffer]:
    """A 2x2 convolution transposed with stride 2 as matrix (C, 4 * C') and bias (4 * C')."""
    assert layer.bias is not None
    weight = layer.weight.detach().permute(0, 2, 3, 1).flatten(1).contiguous()
    return nn.Buffer(weight), nn.Buffer(layer.bias.detach().repeat(4))
