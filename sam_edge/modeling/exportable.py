"""What the exporter asks of a model, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from sam_edge.bundle.manifest import Role


@dataclass(frozen=True)
class GraphSource:
    """A module that becomes one graph of the model folder."""

    name: str
    """Such as `encoder`, `decoder`, `decoder_many` or `refine`."""
    module: nn.Module
    """Takes the inputs in order and returns the outputs in order."""
    inputs: Mapping[str, Tensor]
    """Example inputs in order, of one image. They fix every shape that `dynamic` does not free."""
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Input -> axis -> name of a size that a call may choose, such as "height" or "8*rows": names that
    differ only in the factor grow together."""
    role: Role = "decoder"
    """What the graph is for."""


PROMPTS = "prompts"
"""Name of the free first axis of all that belongs to the prompts: a decoder with it takes any number of prompts
on one image in one run. The image's tensors keep batch 1."""
BATCH = "decoder_batch"
"""The decoder with that axis, of models whose `decoder` is static."""
EXAMPLE_PROMPTS = 3
"""How many prompts its example inputs have. No other axis has this size: the tracer would take them for one."""


class Exportable(Protocol):
    """A model as graphs, and as the PyTorch computation that the graphs must reproduce."""

    @property
    def takes_masks(self) -> bool:
        """Whether an earlier mask can be part of a prompt."""
        ...

    def graphs(self, max_points: int | None = None) -> list[GraphSource]:
        """The encoder first, then the others.

        Args:
            max_points: how many points beside a box the decoder for many takes; None: the family's own number.
        """
        ...

    def encode(self, image: Tensor) -> Mapping[str, Tensor]:
        """Image (1, 3, H, W), normalised and padded, to named features, one of them `embedding`."""
        ...

    def decode(
        self,
        features: Mapping[str, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Points (1, S, 2) and labels (1, S) without empty slots, an earlier mask's logits (1, 1, h, w)
        -> logits (1, 4, h, w) and IoU (1, 4), computed the plain way."""
        ...
