"""The decoder behind the inputs of `segment_anything`'s own ONNX model, computed by the cut decoder.

Source of the signature: `facebookresearch/segment-anything`, `segment_anything/utils/onnx.py`, which
samexporter and most tools that read SAM as ONNX follow.
"""

from __future__ import annotations

from torch import Tensor, nn

from sam_edge.modeling.decoders.cut_decoder import CutDecoder, Prepare
from sam_edge.modeling.decoders.prompt_encoder import TOKEN_PX
from sam_edge.modeling.sam import Sam


class OfficialDecoder(nn.Module):
    """Everything of the official decoder but the choice of a mask and its resizing to the image.

    `prepare` runs inside, because the mask prompt is an input; the rest is the cut decoder, whose slots
    here are as many as the caller gives points.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.prompts = sam.prompt_encoder
        side = self.prompts.image_size // TOKEN_PX
        self.prepare = Prepare(sam, (side, side))
        self.decoder = CutDecoder(sam, (side, side))
        self.no_mask = nn.Buffer(self.prompts.no_mask().detach())

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits (1, 4, 4h, 4w) and predicted IoU (1, 4); index 0 is the single mask.

        Args:
            image_embeddings: (1, C, h, w), h = w = image_size / 16.
            point_coords: (1, N, 2), x and y in pixels of the square input.
            point_labels: (1, N): 1 foreground, 0 background, 2 and 3 box corners, -1 padding.
            mask_input: (1, 1, 4h, 4w), logits of an earlier answer.
            has_mask_input: (1,): 1 if `mask_input` is meant, else 0.
        """
        given = has_mask_input[:, None, None, None]
        dense = given * self.prompts.mask(mask_input) + (1 - given) * self.no_mask
        prepared = self.prepare(image_embeddings, dense)
        answer: tuple[Tensor, Tensor] = self.decoder(*prepared, point_coords, point_labels)
        return answer
