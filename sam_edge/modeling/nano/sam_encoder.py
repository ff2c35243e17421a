"""nano's trunk as the image encoder of a SAM: the student that `sam-edge distill` trains.

The teacher's prompt encoder and mask decoder stay as they are, as in NanoSAM
(`NVIDIA-AI-IOT/nanosam`), so a distilled model is a SAM of its own with a small encoder.
"""

from __future__ import annotations

from torch import Tensor, nn

from sam_edge.modeling.nano.blocks import RepConv
from sam_edge.modeling.nano.encoder import TRUNK_CHANNELS, NanoTrunk

SAM_CHANNELS = 256


class NanoImageEncoder(nn.Module):
    """(B, 3, H, W) to SAM's embedding (B, 256, H/16, W/16)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = NanoTrunk()
        self.widen = RepConv(TRUNK_CHANNELS, SAM_CHANNELS)
        self.project = nn.Conv2d(SAM_CHANNELS, SAM_CHANNELS, 1)

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.project(self.widen(self.trunk.pyramid(image)[2]))
        return embedding
