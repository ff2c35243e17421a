"""The model families, one entry each: how to build one, how it sees images, under which licence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.modeling.decoders.efficient_sam import EfficientSamDecoder, PointPrompts
from sam_edge.modeling.decoders.mask_decoder import MaskDecoder
from sam_edge.modeling.decoders.prompt_encoder import PromptEncoder
from sam_edge.modeling.encoders.edge_sam import EdgeSamEncoder
from sam_edge.modeling.encoders.efficient_sam import EfficientSamEncoder
from sam_edge.modeling.encoders.efficientvit import EPS, EfficientViT, Stage, l_stages, xl_stages
from sam_edge.modeling.encoders.image_encoder_vit import ImageEncoderViT
from sam_edge.modeling.encoders.repvit import RepViT
from sam_edge.modeling.encoders.tiny_vit.model import TinyViT
from sam_edge.modeling.exportable import Exportable
from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.nano.export import NanoExport
from sam_edge.modeling.nano.model import LONG_SIDE_PX, PIXEL_MEAN, PIXEL_STD, SIDE_MULTIPLE_PX, build_nano
from sam_edge.modeling.nano.sam_encoder import NanoImageEncoder
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import SamExport

# ImageNet's statistics, RGB, as segment_anything normalises.
SAM_PREPROCESS = Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), resize="antialias")
SAM_INPUT = InputSize(long_side=1024, multiple=16, square=True)
# EfficientSAM sees every frame as a square.
SQUASHED_INPUT = InputSize(long_side=1024, multiple=1024, square=True, fit="squash")
SQUASHED_PREPROCESS = replace(SAM_PREPROCESS, resize="bilinear")
# EfficientViT-SAM-L measures prompts and masks in SAM's 1024 pixels and looks at 512.
HALF_INPUT = InputSize(long_side=1024, multiple=64, square=True, encoder_stride=2)
# The larger ones look at all of it; either's coarsest map has a cell in 64 pixels.
COARSE_INPUT = InputSize(long_side=1024, multiple=64, square=True)


@dataclass(frozen=True)
class Family:
    """Everything that sets one family apart from another."""

    build: Callable[[], nn.Module]
    """A model with the public checkpoint's keys and any weights."""
    exportable: Callable[..., Exportable]
    """The built model as graphs; `input_hw=(height, width)` makes them for an input of those sides."""
    licence: str
    """Of the public checkpoint's weights."""
    input_size: InputSize = SAM_INPUT
    preprocess: Preprocess = SAM_PREPROCESS
    half_weights: bool = False
    """The checkpoint's weights are float16: they take no more room in the graphs either."""


def sam(image_encoder: nn.Module) -> Sam:
    """SAM's prompt encoder and mask decoder behind an image encoder."""
    return Sam(image_encoder, PromptEncoder(), MaskDecoder())


def sam_vit(dim: int, depth: int, heads: int, global_blocks: Collection[int]) -> Sam:
    """A SAM of Meta's."""
    return sam(ImageEncoderViT(dim=dim, depth=depth, heads=heads, global_blocks=global_blocks))


def efficient_sam(dim: int, heads: int) -> Sam:
    """An EfficientSAM."""
    return Sam(EfficientSamEncoder(dim=dim, heads=heads), PointPrompts(), EfficientSamDecoder())


def efficientvit_sam_l(stages: Sequence[Stage], neck_depth: int) -> Sam:
    """An EfficientViT-SAM whose encoder looks at half the size."""
    encoder = EfficientViT(stages, neck_depth=neck_depth, neck_expansion=1)
    return Sam(encoder, PromptEncoder(), MaskDecoder(eps=EPS), HALF_INPUT.encoder_stride)


def efficientvit_sam_xl(stages: Sequence[Stage], neck_depth: int) -> Sam:
    """An EfficientViT-SAM of the larger kind."""
    encoder = EfficientViT(stages, neck_depth=neck_depth, neck_expansion=4)
    return Sam(encoder, PromptEncoder(), MaskDecoder(eps=EPS))


FAMILIES: Mapping[str, Family] = {
    "sam_vit_b": Family(lambda: sam_vit(768, 12, 12, (2, 5, 8, 11)), SamExport, "Apache-2.0"),
    "sam_vit_l": Family(lambda: sam_vit(1024, 24, 16, (5, 11, 17, 23)), SamExport, "Apache-2.0"),
    "sam_vit_h": Family(lambda: sam_vit(1280, 32, 16, (7, 15, 23, 31)), SamExport, "Apache-2.0"),
    "mobile_sam": Family(lambda: sam(TinyViT()), SamExport, "Apache-2.0"),
    "repvit_sam": Family(lambda: sam(RepViT()), SamExport, "Apache-2.0"),
    "edge_sam": Family(lambda: sam(EdgeSamEncoder()), SamExport, "S-Lab License 1.0 (non-commercial)"),
    "efficient_sam_ti": Family(
        lambda: efficient_sam(192, 3), SamExport, "Apache-2.0", SQUASHED_INPUT, SQUASHED_PREPROCESS
    ),
    "efficient_sam_s": Family(
        lambda: efficient_sam(384, 6), SamExport, "Apache-2.0", SQUASHED_INPUT, SQUASHED_PREPROCESS
    ),
    "efficientvit_sam_l0": Family(
        lambda: efficientvit_sam_l(l_stages(1, 1, 1, 4, 4), 4), SamExport, "Apache-2.0", HALF_INPUT
    ),
    "efficientvit_sam_l1": Family(
        lambda: efficientvit_sam_l(l_stages(1, 1, 1, 6, 6), 8), SamExport, "Apache-2.0", HALF_INPUT
    ),
    "efficientvit_sam_l2": Family(
        lambda: efficientvit_sam_l(l_stages(1, 2, 2, 8, 8), 12), SamExport, "Apache-2.0", HALF_INPUT
    ),
    "efficientvit_sam_xl0": Family(
        lambda: efficientvit_sam_xl(xl_stages(0, 1, 1, 2, 3, 3), 6), SamExport, "Apache-2.0", COARSE_INPUT
    ),
    "efficientvit_sam_xl1": Family(
        lambda: efficientvit_sam_xl(xl_stages(1, 2, 2, 4, 6, 6), 12), SamExport, "Apache-2.0", COARSE_INPUT
    ),
    "nano_sam": Family(
        lambda: sam(fuse(NanoImageEncoder())),
        SamExport,
        "the teacher's",
        replace(SAM_INPUT, multiple=32),
    ),
    "nano": Family(
        lambda: build_nano(fused=True),
        NanoExport,
        "Apache-2.0",
        InputSize(LONG_SIDE_PX, SIDE_MULTIPLE_PX, square=False),
        Preprocess(PIXEL_MEAN, PIXEL_STD, resize="area"),
        half_weights=True,
    ),
}


def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in FAMILIES:
        raise InputError(f"unknown family {name!r}", hint=f"choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
