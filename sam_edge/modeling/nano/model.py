"""nano: the small promptable segmentation model that ships with the package.

A convolutional encoder and a convolutional decoder with SAM's contract: points, boxes and a previous
mask in; one single mask, three ambiguity masks and their predicted IoU out; the image's features
are computed once and reused by every prompt.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.nano.decoder import NanoDecoder
from sam_edge.modeling.nano.encoder import NanoEncoder

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
LONG_SIDE_PX = 512
SIDE_MULTIPLE_PX = 32

__all__ = [
    "LONG_SIDE_PX",
    "PIXEL_MEAN",
    "PIXEL_STD",
    "SIDE_MULTIPLE_PX",
    "Nano",
    "NanoDecoder",
    "NanoEncoder",
    "build_nano",
]


class Nano(nn.Module):
    """The encoder and the decoder, which are exported as two graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = NanoEncoder()
        self.decoder = NanoDecoder()


def build_nano(*, fused: bool = False) -> Nano:
    """A nano with fresh weights, in evaluation mode; `fused` has the keys of the shipped weights."""
    model = Nano().eval()
    return cast(Nano, fuse(model)) if fused else model
