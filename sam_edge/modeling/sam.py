"""A whole SAM: image encoder, prompt encoder and mask decoder under the public checkpoints' names."""

from __future__ import annotations

from torch import Tensor, nn

from sam_edge.modeling.decoders.mask_decoder import Decoder
from sam_edge.modeling.decoders.prompt_encoder import Prompts


class Sam(nn.Module):
    """The reference: what every exported graph is compared with.

    `image_encoder(image)` turns (B, 3, H, W) into an embedding (B, 256, h, w), h = H * shrink / 16.

    Args:
        shrink: how many times smaller than the input that prompts and masks are measured in the image is
            that the image encoder takes.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: Prompts,
        mask_decoder: Decoder,
        encoder_stride: int = 1,
    ) -> None:
        super().__init__()
        self.encoder_stride = encoder_stride
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def decode(
        self,
        embedding: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The decoder as it was published, without padding: no label may be -2.

        Args:
            embedding: (1, 256, h, w).
            point_coords: (B, S, 2), x and y in pixels of the encoder's input.
            point_labels: (B, S): 1 foreground, 0 background, 2 and 3 box corners, -1 not a point.
            mask_logits: (1 or B, 1, 4h, 4w), of an earlier answer.

        Returns:
            Logits (B, 4, 4h, 4w) and predicted IoU (B, 4); index 0 is the single mask.
        """
        prompts = self.prompt_encoder
        dense = prompts.no_mask() if mask_logits is None else prompts.mask(mask_logits)
        answer: tuple[Tensor, Tensor] = self.mask_decoder(
            embedding,
            prompts.positions((embedding.shape[2], embedding.shape[3])),
            prompts.points(point_coords, point_labels),
            dense,
        )
        return answer
