"""A SAM as the graphs of a model folder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sam_edge.modeling.decoders.cut_decoder import PREPARED, CutDecoder, EncoderWithPrepare, Prepare, Refine
from sam_edge.modeling.decoders.prompt_encoder import TOKEN_PX
from sam_edge.modeling.exportable import BATCH, EXAMPLE_PROMPTS, PROMPTS, Exportable, GraphSource
from sam_edge.modeling.sam import Sam
from sam_edge.prompt import EMPTY_SLOT, FOREGROUND

SLOTS = {"decoder": 2, "decoder_many": 12}
"""One point and its padding, or a box; ten points and a box."""
ANSWER = ("logits", "iou")


class SamExport:
    """Encoder with `prepare`, the cut decoder for few and many points and for many prompts, `refine` for masks.

    Args:
        input_hw: (height, width) of the encoder's input, multiples of 16; None takes the family's square.
    """

    def __init__(self, sam: Sam, input_hw: tuple[int, int] | None = None) -> None:
        self.sam = sam
        side = sam.prompt_encoder.image_size
        self.input_hw = input_hw or (side, side)
        self.grid = (self.input_hw[0] // TOKEN_PX, self.input_hw[1] // TOKEN_PX)

    @property
    def takes_masks(self) -> bool:
        return self.sam.prompt_encoder.takes_masks

    def graphs(self, max_points: int | None = None) -> list[GraphSource]:
        slots_of = SLOTS if max_points is None else SLOTS | {"decoder_many": max_points + 2}
        image = {"image": torch.zeros(1, 3, *(side // self.sam.encoder_stride for side in self.input_hw))}
        prompts = self.sam.prompt_encoder
        embedding = torch.zeros(1, prompts.dim, *self.grid)
        with torch.no_grad():
            tensors = Prepare(self.sam, self.grid)(embedding, prompts.no_mask())
        prepared = dict(zip(PREPARED, tensors, strict=True))
        decoder = CutDecoder(self.sam, self.grid)
        graphs = [
            GraphSource(
                "encoder",
                EncoderWithPrepare(self.sam, self.grid),
                image,
                ("embedding", *PREPARED),
                role="encoder",
            ),
            *(
                GraphSource(name, decoder, prepared | _prompt(slots), ANSWER)
                for name, slots in slots_of.items()
            ),
            GraphSource(
                BATCH,
                decoder,
                prepared | _prompt(SLOTS["decoder"], EXAMPLE_PROMPTS),
                ANSWER,
                {name: {0: PROMPTS} for name in _prompt(1)},
            ),
        ]
        if self.takes_masks:
            mask_logits = torch.zeros(1, 1, *(4 * side for side in self.grid))
            mask = {"embedding": embedding, "mask_logits": mask_logits}
            graphs.append(GraphSource("refine", Refine(self.sam, self.grid), mask, PREPARED, role="refine"))
        return graphs

    def encode(self, image: Tensor) -> Mapping[str, Tensor]:
        return {"embedding": self.sam.image_encoder(image)}

    def decode(
        self,
        features: Mapping[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        return self.sam.decode(features["embedding"], point_coords, point_labels, mask_logits)


def _prompt(slots: int, prompts: int = 1) -> dict[str, Tensor]:
    """Prompts of one point and empty slots."""
    labels = torch.full((prompts, slots), float(EMPTY_SLOT))
    labels[:, 0] = FOREGROUND
    return {"point_coords": torch.zeros(prompts, slots, 2), "point_labels": labels}


_: type[Exportable] = SamExport
