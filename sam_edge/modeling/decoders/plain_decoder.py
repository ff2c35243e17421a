"""The decoder as it is commonly exported: what the cut decoder is measured against."""

from __future__ import annotations

from torch import Tensor, nn

from sam_edge.modeling.sam import Sam


class PlainDecoder(nn.Module):
    """Prompt encoder and mask decoder in one graph, the mask prompt among its inputs.

    Source of the arrangement and the names: `facebookresearch/segment-anything`, `utils/onnx.py`, which
    samexporter and others follow, without its resizing of the masks.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits (1, 4, 4h, 4w) and predicted IoU (1, 4).

        Args:
            image_embeddings: (1, 256, h, w).
            point_coords: (1, S, 2). No slot may be empty.
            point_labels: (1, S).
            mask_input: (1, 1, 4h, 4w).
            has_mask_input: (1,): 0 takes the no-mask embedding instead.
        """
        prompts = self.sam.prompt_encoder
        given = has_mask_input[:, None, None, None]
        dense = given * prompts.mask(mask_input) + (1 - given) * prompts.no_mask()
        grid = (image_embeddings.shape[2], image_embeddings.shape[3])
        answer: tuple[Tensor, Tensor] = self.sam.mask_decoder(
            image_embeddings, prompts.positions(grid), prompts.points(point_coords, point_labels), dense
        )
        return answer
