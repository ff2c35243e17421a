"""nano's mask decoder: dense prompt maps, a small U-shaped head, and an IoU head that sees the masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.nano.blocks import RepConv
from sam_edge.modeling.nano.encoder import EMBEDDING_CHANNELS, SKIP4_CHANNELS, SKIP8_CHANNELS, double
from sam_edge.modeling.nano.prompts import (
    WIDTHS_PX,
    Grid,
    Prompts,
    box_maps,
    clicked_feature,
    directions,
    gather,
    make_grid,
    nearness,
    offsets,
    pooled,
    scatter,
    similarity,
    split_prompts,
    unit_keys,
)

MASKS = 4
KEY_HEADS = 4
SKIP4_HEADS = 2
DIP_CHANNELS = 128
MAPS16 = 8 + 2 + 2 * KEY_HEADS + 5 + 5
MAPS8 = 8 + 2 * KEY_HEADS + 5 + 1 + MASKS * KEY_HEADS
MAPS4 = 6 + 2 * SKIP4_HEADS + 5 + 1


class IouHead(nn.Module):
    """Predicts each mask's IoU from the mask itself.

    Per mask: the features under it, along its rim and outside it, the share of the prompts it
    honours, its size and certainty, and its overlap with the other masks and the previous one.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = EMBEDDING_CHANNELS + 3 * SKIP8_CHANNELS + 9 + MASKS
        self.hidden = nn.Linear(channels, 128)
        self.index = nn.Parameter(torch.zeros(MASKS, 128))
        self.second = nn.Linear(128, 64)
        self.out = nn.Linear(64, 1)

    def forward(
        self,
        logits: Tensor,
        features8: Tensor,
        embedding: Tensor,
        previous: Tensor,
        clicks: Tensor,
    ) -> Tensor:
        """`logits`, `previous` and `clicks` at stride 8; returns IoU (B, 4) in 0..1."""
        soft = torch.sigmoid(logits)
        rim = soft * (1.0 - soft) * 4.0
        flat = soft.flatten(2)
        area = flat.mean(2)
        overlap = torch.matmul(flat, flat.transpose(1, 2)) / flat.shape[2]
        union = area[:, :, None] + area[:, None, :] - overlap
        previous_soft = torch.sigmoid(previous)
        shared = (soft * previous_soft).mean((2, 3))
        either = area + previous_soft.mean((2, 3)) - shared
        strict = torch.sigmoid((logits - 1.0) * 4.0).mean((2, 3))
        loose = torch.sigmoid((logits + 1.0) * 4.0).mean((2, 3))
        certainty = logits.abs().clamp(max=8.0)
        numbers = [
            torch.sqrt(area + 1.0e-6),
            torch.log(area + 1.0e-4) * 0.2,
            certainty.mean((2, 3)) * 0.25,
            (certainty * soft).mean((2, 3)) / (area + 1.0e-3) * 0.25,
            rim.mean((2, 3)) / (area + 1.0e-3),
            (strict + 1.0e-4) / (loose + 1.0e-4),
            shared / (either + 1.0e-3),
            *_satisfied(soft, clicks),
        ]
        seen = torch.cat(
            [
                pooled(embedding, F.avg_pool2d(soft, 2)),
                pooled(features8, soft),
                pooled(features8, rim),
                pooled(features8, 1.0 - soft),
                torch.stack(numbers, dim=2),
                overlap / (union + 1.0e-3),
            ],
            dim=2,
        )
        x = F.relu(self.hidden(seen) + self.index)
        return torch.sigmoid(self.out(F.relu(self.second(x)))[:, :, 0])


def _satisfied(soft: Tensor, clicks: Tensor) -> list[Tensor]:
    shares = torch.matmul(soft.flatten(2), clicks.flatten(2).transpose(1, 2))
    totals = clicks.flatten(2).sum(2)[:, None, :] + 1.0e-2
    return list((shares / totals).unbind(2))


class NanoDecoder(nn.Module):
    """Prompts to masks. Every prompt of every kind has the same static shape."""

    def __init__(self) -> None:
        super().__init__()
        wide, middle, fine = EMBEDDING_CHANNELS, SKIP8_CHANNELS, SKIP4_CHANNELS
        self.prompt16 = nn.Conv2d(MAPS16, wide, 1)
        self.clicked = nn.Linear(3 * wide, wide)
        self.enter = RepConv(wide, wide)
        self.dip = nn.Sequential(RepConv(wide, DIP_CHANNELS, stride=2), RepConv(DIP_CHANNELS, DIP_CHANNELS))
        self.context = nn.Conv2d(DIP_CHANNELS, DIP_CHANNELS, 1)
        self.bottom = RepConv(DIP_CHANNELS, DIP_CHANNELS)
        last = RepConv(DIP_CHANNELS, DIP_CHANNELS, relu=False)
        nn.init.zeros_(last.norm.weight)  # begins as nothing beside its input
        self.deep = nn.Sequential(RepConv(DIP_CHANNELS, DIP_CHANNELS), last)
        self.rise16 = nn.Conv2d(DIP_CHANNELS, wide, 1)
        self.leave = RepConv(wide, wide)
        self.coarse = nn.Conv2d(wide, MASKS, 1)
        self.rise8 = nn.Conv2d(wide, middle, 1)
        self.prompt8 = nn.Conv2d(MAPS8, middle, 1)
        self.refine8 = RepConv(middle, middle)
        self.rise4 = nn.Conv2d(middle, fine, 1)
        self.prompt4 = nn.Conv2d(MAPS4, fine, 1)
        self.refine4 = RepConv(fine, fine)
        self.masks = nn.Conv2d(fine, MASKS, 1)
        self.iou = IouHead()
        for bias in (self.coarse.bias, self.masks.bias):
            assert bias is not None
            nn.init.constant_(bias, -1.5)

    def forward(
        self,
        features: dict[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks for B prompts, each with features of its own (B, ...) or all on the same image (1, ...).

        What depends on the image alone is computed once where all prompts share it.
        `point_coords` (B, S, 2): x, y in pixels of the encoder's input. `point_labels` (B, S): 1
        foreground, 0 background, 2 and 3 the box's top-left and bottom-right corner, others empty.
        `mask_logits` (B, 1, H/4, W/4): an earlier answer's logits; ignored where `has_mask` (B,) is 0.
        Returns logits (B, 4, H/4, W/4) and predicted IoU (B, 4); index 0 is the single mask.
        """
        logits, iou, _ = self.forward_all(features, point_coords, point_labels, mask_logits, has_mask)
        return logits, iou

    def forward_all(
        self,
        features: dict[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, and the coarse logits (B, 4, H/16, W/16), which training supervises too."""
        prepared = self.prepare(features)
        return self.forward_prepared(prepared, point_coords, point_labels, mask_logits, has_mask)

    @staticmethod
    def prepare(features: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the decoder starts from, of what the encoder gives: everything that no prompt changes.

        Returns:
            `embedding`, `skip8` and `skip4` as they are; of `key8` and `skip4` the keys that clicked pixels
            are compared with: `key8` (B, 68, H/8, W/8) and `key4` (B, 18, H/4, W/4), see `unit_keys`.
        """
        skip4 = features["skip4"]
        return {
            "embedding": features["embedding"],
            "key8": unit_keys(features["key8"], KEY_HEADS),
            "skip8": features["skip8"],
            "key4": unit_keys(skip4, SKIP4_HEADS),
            "skip4": skip4,
        }

    def forward_prepared(
        self,
        prepared: dict[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward_all`, on the tensors (1 or B, ...) that `prepare` returns."""
        prompts = split_prompts(point_coords, point_labels)
        gate = has_mask[:, None, None, None]
        previous4 = mask_logits.clamp(-8.0, 8.0) * (gate * 0.25)
        previous8 = F.avg_pool2d(previous4, 2)
        previous16 = F.avg_pool2d(previous8, 2)
        embedding, skip8, skip4 = prepared["embedding"], prepared["skip8"], prepared["skip4"]
        grid8 = make_grid(prompts, skip8, 8)
        similar8 = similarity(prepared["key8"], KEY_HEADS, grid8, prompts, width_px=5.0)
        trunk = self._trunk(embedding, prompts, F.avg_pool2d(similar8, 2), previous16, gate)
        coarse = self.coarse(trunk)

        near8 = _near(grid8, prompts, WIDTHS_PX)
        alike8 = self._resembling(prepared["key8"], double(torch.sigmoid(coarse)))
        maps8 = torch.cat([near8, similar8, box_maps(prompts, grid8), previous8, alike8], dim=1)
        x8 = self.refine8(F.relu(double(self.rise8(trunk)) + skip8 + self.prompt8(maps8)))

        grid4 = make_grid(prompts, skip4, 4)
        similar4 = similarity(prepared["key4"], SKIP4_HEADS, grid4, prompts, width_px=3.0)
        maps4 = torch.cat(
            [
                _near(grid4, prompts, WIDTHS_PX[:2]),
                similar4,
                box_maps(prompts, grid4),
                previous4,
            ],
            dim=1,
        )
        x4 = self.refine4(F.relu(double(self.rise4(x8)) + skip4 + self.prompt4(maps4)))
        logits = self.masks(x4)
        clicks = torch.stack([near8[:, 1], near8[:, 5]], dim=1)
        seen = F.avg_pool2d(logits.detach(), 2)
        iou = self.iou(seen, x8, embedding, previous8 * 4.0, clicks)
        return logits, iou, coarse

    def _trunk(
        self, embedding: Tensor, prompts: Prompts, similar: Tensor, previous: Tensor, gate: Tensor
    ) -> Tensor:
        grid = make_grid(prompts, embedding, 16)
        boxes = box_maps(prompts, grid)
        counts = torch.stack([prompts.foreground.sum(1), prompts.background.sum(1)], dim=1)
        flags = torch.cat([torch.log1p(counts), prompts.has_box, gate[:, :, 0, 0]], dim=1)
        flat = torch.zeros_like(embedding[:1, :4]) + flags[:, :, None, None]
        maps = torch.cat(
            [
                _near(grid, prompts, WIDTHS_PX),
                offsets(grid, prompts.foreground),
                similar,
                boxes,
                previous,
                flat,
            ],
            dim=1,
        )
        vector = torch.cat(
            [
                clicked_feature(embedding, grid, prompts.foreground, 10.0),
                clicked_feature(embedding, grid, prompts.background, 10.0),
                pooled(embedding, boxes[:, 4:])[:, 0],
            ],
            dim=1,
        )
        x = F.relu(embedding + self.prompt16(maps) + self.clicked(vector)[:, :, None, None])
        x = self.enter(x)
        low = self.dip(x)
        low = self.bottom(F.relu(low + self.context(low.mean((2, 3), keepdim=True))))
        low = F.relu(low + self.deep(low))
        out: Tensor = self.leave(F.relu(x + double(self.rise16(low))))
        return out

    def _resembling(self, keys: Tensor, soft: Tensor) -> Tensor:
        """How much more every pixel resembles the inside of each coarse mask than its outside.

        `keys` (B or 1, heads * (c + 1), h, w) of `unit_keys`, `soft` (B, 4, h, w) -> (B, 4 * heads, h, w).
        One step of k-means between a mask and its surroundings, in the learned key space.
        """
        flat = soft.flatten(2)
        both = torch.cat([flat, 1.0 - flat], dim=1)
        means = directions(gather(both / (both.sum(2, keepdim=True) + 1.0e-2), keys), KEY_HEADS)
        difference = means[:, :MASKS] - means[:, MASKS:]
        maps = scatter(torch.cat([difference, torch.zeros_like(difference[..., :1])], dim=3), keys)
        found: Tensor = maps.transpose(0, 1).flatten(1, 2).unflatten(2, soft.shape[2:])
        return found


def _near(grid: Grid, prompts: Prompts, widths_px: tuple[float, ...]) -> Tensor:
    foreground = nearness(grid, prompts.foreground, widths_px)
    background = nearness(grid, prompts.background, widths_px)
    return torch.cat([foreground, background], dim=1)
