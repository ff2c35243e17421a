"""What every labelled pixel teaches the encoder, beside the few objects that are prompted in a step.

Two heads that exist in training only. Extents: every cell of the embedding tells how far the sides of its
object's box are, in the manner of FCOS (Tian et al., 2019). Groups: every cell's key is nearer to the mean key
of its own object than to those of others or to nothing's, in the manner of a discriminative embedding loss
(De Brabandere et al., 2017) with a softmax over the objects.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.nano.decoder import KEY_HEADS
from sam_edge.modeling.nano.encoder import EMBEDDING_CHANNELS

Array = NDArray[Any]

UNIT_PX = 64.0
EXTENT_STRIDE = 16
SMALLEST_CELLS = 4
MOST_GROUPS = 24
SHARPNESS = 12.0


def instance_targets(labels: Array) -> tuple[Array, Array]:
    """Of a label map (C, C): `extents` (4, C/16, C/16) and `groups` (C/8, C/8).

    Extents are the distances to the left, top, right and bottom side of the box round the cell's object in
    UNIT_PX, -1 where the cell lies on no object. Groups number the objects of an image from 1;
    0 is the background.
    """
    quarter = labels[2::4, 2::4]
    ids, numbered = np.unique(quarter, return_inverse=True)
    numbered = numbered.reshape(quarter.shape).astype(np.int16)
    if ids[0] != 0:
        numbered += 1
    cells = numbered[2::4, 2::4]
    extents = np.full((4, *cells.shape), -1.0, np.float32)
    rows, columns = ((np.arange(n) + 0.5) * EXTENT_STRIDE for n in cells.shape)
    for number in np.unique(cells):
        if number == 0:
            continue
        x, y, w, h = (4 * side for side in cv2.boundingRect((numbered == number).astype(np.uint8)))
        inside = cells == number
        across, down = np.broadcast_to(columns, cells.shape), np.broadcast_to(rows[:, None], cells.shape)
        sides = np.stack([across - x, down - y, x + w - across, y + h - down]) / UNIT_PX
        extents[:, inside] = np.maximum(sides[:, inside], 0.02)
    return extents, np.minimum(numbered[1::2, 1::2], MOST_GROUPS + 1).astype(np.int64)


class DenseHeads(nn.Module):
    """The heads; `forward` gives their summed loss for the features of a batch of images."""

    def __init__(self) -> None:
        super().__init__()
        self.extent = nn.Conv2d(EMBEDDING_CHANNELS, 4, 1)
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, features: dict[str, Tensor], extents: Tensor, groups: Tensor) -> Tensor:
        """`extents` (B, 4, H/16, W/16) and `groups` (B, H/8, W/8) as `instance_targets` gives them."""
        return self.extent_loss(features["embedding"], extents) + self.group_loss(features["key8"], groups)

    def extent_loss(self, embedding: Tensor, wanted: Tensor) -> Tensor:
        """Mean 1 - IoU of the predicted boxes and the true ones, over the cells that lie on objects.

        Args:
            embedding: (B, C, H/16, W/16).
            wanted: (B, 4, H/16, W/16), see `instance_targets`; -1 where there is no object.
        """
        boxes = F.softplus(self.extent(embedding).float())
        known = wanted[:, 0] >= 0
        inner = torch.minimum(boxes, wanted)
        shared = (inner[:, 0] + inner[:, 2]) * (inner[:, 1] + inner[:, 3])
        areas = [(box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3]) for box in (boxes, wanted)]
        iou = shared / (areas[0] + areas[1] - shared).clamp(min=1.0e-4)
        return ((1.0 - iou) * known).sum() / known.sum().clamp(min=1)

    def group_loss(self, keys: Tensor, groups: Tensor) -> Tensor:
        """Cross entropy of the object that each cell belongs to, over the objects of its image.

        Every object has the same weight, however large it is.

        Args:
            keys: (B, C, H/8, W/8).
            groups: (B, H/8, W/8), see `instance_targets`.
        """
        split = keys.float().unflatten(1, (KEY_HEADS, -1))
        length = torch.rsqrt((split * split).sum(2, keepdim=True) + 1.0e-4)
        unit = (split * length).flatten(1, 2).flatten(2) / KEY_HEADS**0.5
        marks = F.one_hot(groups.flatten(1), MOST_GROUPS + 2)[:, :, : MOST_GROUPS + 1].float()
        cells = marks.sum(1)
        present = cells >= SMALLEST_CELLS
        means = F.normalize(torch.matmul(unit, marks), dim=1)
        cosine = torch.matmul(unit.transpose(1, 2), means) * SHARPNESS
        absent = ~present[:, None, :]
        absent[:, :, 0] = False
        nothing = torch.zeros_like(cosine[:, :, :1]) + self.nothing * SHARPNESS
        scores = torch.cat([nothing, cosine[:, :, 1:]], dim=2).masked_fill(absent, -1.0e4)
        weight = (marks / cells.clamp(min=1.0)[:, None, :]) * present[:, None, :]
        loss = -(scores.log_softmax(2) * weight).sum()
        return loss / present.sum().clamp(min=1)
