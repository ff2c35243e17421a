"""nano as the graphs of a model folder: fully convolutional, so height and width stay free."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sam_edge.modeling.exportable import BATCH, EXAMPLE_PROMPTS, PROMPTS, Exportable, GraphSource
from sam_edge.modeling.nano.model import Nano

SLOTS = {"decoder": 7, "decoder_many": 22}
"""Five points and a box, as streams and most people give; twenty points and a box."""
EXAMPLE_HW = (256, 320)
"""Two different multiples of 32: equal sides would be taken for one size."""
STRIDES = {"embedding": 16, "key8": 8, "skip8": 8, "key4": 4, "skip4": 4}
"""What the encoder's graph gives, see `NanoDecoder.prepare`, and the input pixels per cell of each."""
MASK_STRIDE = 4
"""Input pixels per logit."""


class NanoExport:
    """An encoder, and a decoder for few and for many points, which takes boxes and earlier masks too.

    Args:
        input_hw: (height, width) of static graphs; None leaves both free, and the number of prompts too.
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
        decoder = _Decoder(self.nano)
        maps = {**STRIDES, "mask_logits": MASK_STRIDE}

        def decoder_graph(name: str, slots: int, *, batched: bool) -> GraphSource:
            prompts = _prompts(EXAMPLE_PROMPTS if batched else 1, slots, (height, width))
            inputs = {**features, **prompts}
            dynamic: dict[str, dict[int, str]] = {}
            for tensor in inputs:
                axes = {0: PROMPTS} if batched and tensor in prompts else {}
                if free and tensor in maps:
                    axes |= {2: f"{32 // maps[tensor]}*rows", 3: f"{32 // maps[tensor]}*columns"}
                if axes:
                    dynamic[tensor] = axes
            return GraphSource(name, decoder, inputs, ("logits", "iou"), dynamic)

        sides = {"image": {2: "32*rows", 3: "32*columns"}} if free else {}
        encoder = GraphSource(
            "encoder", _Encoder(self.nano), {"image": image}, tuple(STRIDES), sides, "encoder"
        )
        decoders = [decoder_graph(name, slots, batched=free) for name, slots in slots_of.items()]
        if not free:
            decoders.append(decoder_graph(BATCH, slots_of["decoder"], batched=True))
        return [encoder, *decoders]

    def encode(self, image: Tensor) -> Mapping[str, Tensor]:
        prepared = self.nano.decoder.prepare(self.nano.encoder(image))
        return {name: prepared[name] for name in STRIDES}

    def decode(
        self,
        features: Mapping[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        height, width = features["skip4"].shape[2:]
        previous = torch.zeros(1, 1, height, width) if mask_logits is None else mask_logits
        has_mask = torch.tensor([float(mask_logits is not None)])
        logits, iou, _ = self.nano.decoder.forward_prepared(
            dict(features), point_coords, point_labels, previous, has_mask
        )
        return logits, iou


def _prompts(count: int, slots: int, input_hw: tuple[int, int]) -> dict[str, Tensor]:
    height, width = (side // MASK_STRIDE for side in input_hw)
    return {
        "point_coords": torch.zeros(count, slots, 2),
        "point_labels": torch.zeros(count, slots),
        "mask_logits": torch.zeros(count, 1, height, width),
        "has_mask": torch.zeros(count),
    }


class _Encoder(nn.Module):
    """The encoder and what of the decoder no prompt changes, in order instead of by name."""

    def __init__(self, nano: Nano) -> None:
        super().__init__()
        self.encoder = nano.encoder
        self.prepare = nano.decoder.prepare

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        prepared = self.prepare(self.encoder(image))
        return tuple(prepared[name] for name in STRIDES)


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
        key4: Tensor,
        skip4: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        prepared = dict(zip(STRIDES, (embedding, key8, skip8, key4, skip4), strict=True))
        logits, iou, _ = self.decoder.forward_prepared(
            prepared, point_coords, point_labels, mask_logits, has_mask
        )
        return logits, iou


_: type[Exportable] = NanoExport
