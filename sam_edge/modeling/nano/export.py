"""nano as the graphs of a model folder: fully convolutional, so height and width stay free."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sam_edge.modeling.exportable import Exportable, GraphSource
from sam_edge.modeling.nano.model import Nano

SLOTS = {"decoder": 7, "decoder_many": 22}
"""Five points and a box, as streams and most people give; twenty, for whoever clicks on."""
EXAMPLE_HW = (256, 320)
"""Two different multiples of 32: equal sides would be taken for one size."""
STRIDES = {"embedding": 16, "key8": 8, "skip8": 8, "skip4": 4}
"""What the encoder gives, and the input pixels per cell of each."""


class NanoExport:
    """An encoder, and a decoder that takes every kind of prompt, for few points and for many.

    Args:
        input_hw: (height, width) of static graphs; None leaves both free.
    """

    takes_masks = True

    def __init__(self, nano: Nano, input_hw: tuple[int, int] | None = None) -> None:
        self.nano = nano
        self.input_hw = input_hw

    def graphs(self, max_points: int | None = None) -> list[GraphSource]:
        slots_of = SLOTS if max_points is None else SLOTS | {"decoder_many": max_points + 2}
        height, width = self.input_hw or EXAMPLE_HW
        free = self.input_hw is None
        image = torch.zeros(1, 3, height, width)
        with torch.no_grad():
            features = self.encode(image)
        mask = {
            "mask_logits": torch.zeros(1, 1, height // 4, width // 4),
            "has_mask": torch.zeros(1),
        }
        cells = {name: {2: f"{32 // step}*rows", 3: f"{32 // step}*columns"} for name, step in STRIDES.items()}
        return [
            GraphSource(
                "encoder",
                _Encoder(self.nano),
                {"image": image},
                tuple(STRIDES),
                {"image": {2: "32*rows", 3: "32*columns"}} if free else {},
                role="encoder",
            ),
            *(
                GraphSource(
                    name,
                    _Decoder(self.nano),
                    {**features, **_prompt(slots), **mask},
                    ("logits", "iou"),
                    cells | {"mask_logits": {2: "8*rows", 3: "8*columns"}} if free else {},
                )
                for name, slots in slots_of.items()
            ),
        ]

    def encode(self, image: Tensor) -> Mapping[str, Tensor]:
        features = self.nano.encoder(image)
        return {name: features[name] for name in STRIDES}

    def decode(
        self,
        features: Mapping[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        height, width = (4 * side for side in features["embedding"].shape[2:])
        previous = torch.zeros(1, 1, height, width) if mask_logits is None else mask_logits
        has_mask = torch.tensor([float(mask_logits is not None)])
        answer: tuple[Tensor, Tensor] = self.nano.decoder(
            dict(features), point_coords, point_labels, previous, has_mask
        )
        return answer


def _prompt(slots: int) -> dict[str, Tensor]:
    return {"point_coords": torch.zeros(1, slots, 2), "point_labels": torch.zeros(1, slots)}


class _Encoder(nn.Module):
    """The encoder with its outputs in order instead of by name."""

    def __init__(self, nano: Nano) -> None:
        super().__init__()
        self.encoder = nano.encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.encoder(image)
        return tuple(features[name] for name in STRIDES)


class _Decoder(nn.Module):
    """The decoder with its features one by one instead of by name."""

    def __init__(self, nano: Nano) -> None:
        super().__init__()
        self.decoder = nano.decoder

    def forward(
        self,
        embedding: Tensor,
        key8: Tensor,
        skip8: Tensor,
        skip4: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        features = dict(zip(STRIDES, (embedding, key8, skip8, skip4), strict=True))
        answer: tuple[Tensor, Tensor] = self.decoder(
            features, point_coords, point_labels, mask_logits, has_mask
        )
        return answer


_: type[Exportable] = NanoExport
