"""A whole SAM, small enough for every test run, with weights that matter everywhere."""

from __future__ import annotations

import torch
from torch import nn

from sam_edge.geometry import InputSize
from sam_edge.modeling.decoders.mask_decoder import MaskDecoder
from sam_edge.modeling.decoders.prompt_encoder import PromptEncoder
from sam_edge.modeling.encoders.image_encoder_vit import ImageEncoderViT
from sam_edge.modeling.families import Family
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import SamExport

DIM, HEADS, SIDE_PX = 32, 4, 128
GRID = (SIDE_PX // 16, SIDE_PX // 16)


def build() -> Sam:
    """Fresh weights."""
    encoder = ImageEncoderViT(
        dim=24, depth=2, heads=2, global_blocks=(1,), image_size=SIDE_PX, window=3, out_channels=DIM
    )
    prompts = PromptEncoder(dim=DIM, image_size=SIDE_PX)
    return Sam(encoder, prompts, MaskDecoder(dim=DIM, heads=HEADS, hidden=48))


def tiny_sam(seed: int = 0) -> Sam:
    """In evaluation mode and frozen; no weight is zero, as those of untrained biases and positions are."""
    torch.manual_seed(seed)
    model = build().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def without_encoder(dim: int = DIM, heads: int = HEADS) -> Sam:
    """Only the prompt encoder and the decoder, of another width."""
    torch.manual_seed(0)
    decoder = MaskDecoder(dim=dim, heads=heads, hidden=48)
    model = Sam(nn.Identity(), PromptEncoder(dim=dim, image_size=SIDE_PX), decoder)
    return model.eval().requires_grad_(False)


TINY = Family(build, SamExport, "none", InputSize(SIDE_PX, 16, square=True))
