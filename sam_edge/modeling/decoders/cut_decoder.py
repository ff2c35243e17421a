"""SAM's mask decoder, cut where a device needs it.

`EncoderWithPrepare` runs once a frame, `CutDecoder` once a prompt, `Refine` when a mask prompt changes what
the image tokens start from. Together they compute exactly what `Sam.decode` computes, with less than half
of its multiplications left in the part that runs at the rate of the prompts.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.modeling.decoders.cut_attention import (
    FirstImageToToken,
    FirstTokenToImage,
    ImageToToken,
    TokenToImage,
)
from sam_edge.modeling.decoders.cut_masks import MaskHead
from sam_edge.modeling.decoders.mask_decoder import OUTPUT_TOKENS
from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.sam import Sam

PREPARED = ("tokens", "keys", "values", "queries")
"""Names of what `Prepare` gives, in order."""

Prepared = tuple[Tensor, Tensor, Tensor, Tensor]


class Prepare(nn.Module):
    """Everything of the decoder that no point and no box changes.

    Args:
        grid: (h, w) of the embedding.
    """

    def __init__(self, sam: Sam, grid: tuple[int, int]) -> None:
        super().__init__()
        layer = sam.mask_decoder.transformer.steps()[0]
        self.token_to_image = FirstTokenToImage(layer.cross_attn_token_to_image)
        self.image_to_token = FirstImageToToken(layer.cross_attn_image_to_token)
        self.positions = nn.Buffer(sam.prompt_encoder.positions(grid)[None].detach())

    def forward(self, embedding: Tensor, dense: Tensor) -> Prepared:
        """Embedding (1, C, h, w) and dense prompt (1, C, h or 1, w or 1) -> what the decoder starts from.

        Returns:
            tokens (1, h*w, C); for the first layer keys (1, heads, c, h*w), values (1, heads, h*w, c) and
            queries (1, h*w, heads*c).
        """
        tokens = (embedding + dense).flatten(2).transpose(1, 2)
        positioned = tokens + self.positions
        keys, values = self.token_to_image.prepare(positioned, tokens)
        return tokens, keys, values, self.image_to_token.prepare(positioned)


class EncoderWithPrepare(nn.Module):
    """Image (1, 3, H, W) -> embedding (1, C, h, w) and what `Prepare` makes of it without a mask prompt."""

    def __init__(self, sam: Sam, grid: tuple[int, int]) -> None:
        super().__init__()
        self.encoder = fuse(sam.image_encoder)
        self.prepare = Prepare(sam, grid)
        self.no_mask = nn.Buffer(sam.prompt_encoder.no_mask().detach())

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`embedding` and the tensors that PREPARED names."""
        embedding = self.encoder(image)
        return (embedding, *self.prepare(embedding, self.no_mask))


class Refine(nn.Module):
    """Embedding (1, C, h, w) and an earlier mask's logits (1, 1, 4h, 4w) -> what `Prepare` gives."""

    def __init__(self, sam: Sam, grid: tuple[int, int]) -> None:
        super().__init__()
        self.prompts = sam.prompt_encoder
        self.prepare = Prepare(sam, grid)

    def forward(self, embedding: Tensor, mask_logits: Tensor) -> Prepared:
        prepared: Prepared = self.prepare(embedding, self.prompts.mask(mask_logits))
        return prepared


class CutDecoder(nn.Module):
    """Points and box corners in a fixed number of slots, on prepared tensors, to masks."""

    def __init__(self, sam: Sam, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.prompts = sam.prompt_encoder
        self.decoder = sam.mask_decoder
        transformer = sam.mask_decoder.transformer
        self.first, self.second = transformer.steps()
        self.token_to_image_first = FirstTokenToImage(self.first.cross_attn_token_to_image)
        self.image_to_token_first = FirstImageToToken(self.first.cross_attn_image_to_token)
        self.token_to_image_second = TokenToImage(self.second.cross_attn_token_to_image)
        self.image_to_token_second = ImageToToken(self.second.cross_attn_image_to_token)
        self.token_to_image_final = TokenToImage(transformer.final_attn_token_to_image)
        self.norm_final = transformer.norm_final_attn
        self.mask_head = MaskHead(sam.mask_decoder, grid)
        self.positions = nn.Buffer(sam.prompt_encoder.positions(grid)[None].detach())

    def forward(
        self,
        tokens: Tensor,
        keys: Tensor,
        values: Tensor,
        queries: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, 4, 4h, 4w) and predicted IoU (P, 4) of P prompts on one image; index 0 is the single mask.

        Args:
            tokens, keys, values, queries: of `Prepare`, for one image.
            point_coords: (P, S, 2), x and y in pixels of the encoder's input.
            point_labels: (P, S): 1 foreground, 0 background, 2 and 3 box corners, -1 not a point, -2
                empty slot, which changes nothing.
        """
        slots, hidden = self.prompts.slots(point_coords, point_labels)
        prompt = self.decoder.with_outputs(slots)
        bias = F.pad(hidden, (OUTPUT_TOKENS, 0))

        x = self.first.self_attention(prompt, prompt, bias[:, None, None], first=True)
        x = self.first.norm2(x + self.token_to_image_first(x + prompt, keys, values))
        x = self.first.add_mlp(x)
        attended = self.image_to_token_first(queries, x + prompt, x, bias)
        image = self._add_norm(self.first.norm4, tokens, attended)

        positioned = image + self.positions
        x = self.second.self_attention(x, prompt, bias[:, None, None], first=False)
        x = self.second.norm2(x + self.token_to_image_second(x + prompt, positioned, image))
        x = self.second.add_mlp(x)
        attended = self.image_to_token_second(positioned, x + prompt, x, bias)
        image = self._add_norm(self.second.norm4, image, attended)

        # Only the output tokens are read from here on.
        x, prompt = x[:, :OUTPUT_TOKENS], prompt[:, :OUTPUT_TOKENS]
        x = self.norm_final(x + self.token_to_image_final(x + prompt, image + self.positions, image))
        logits = self.mask_head(image, self.decoder.filters(x))
        return logits, self.decoder.iou_prediction_head(x[:, 0])

    def _add_norm(self, norm: nn.Module, image: Tensor, attended: Tensor) -> Tensor:
        """Add (1 or P, h * w, C) and (P, h * w, C), and normalise.

        As maps (P, h, w, C): onnxruntime fuses the two for three axes only, into an operator that took five
        times as long on the CPU.
        """
        maps = image.unflatten(1, self.grid) + attended.unflatten(1, self.grid)
        normed: Tensor = norm(maps)
        return normed.flatten(1, 2)
