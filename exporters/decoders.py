"""The plain and the cut decoder as graphs with random weights, for measuring one against the other."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.families import sam
from sam_edge.modeling.plain_decoder import PlainDecoder
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import ANSWER, SLOTS, SamExport

from .onnx_graph import write_graph


def write_decoders(folder: Path) -> dict[str, Path]:
    """Write `decoder` and `decoder_many`, and `plain_` twins with as many slots, at SAM's full size."""
    torch.manual_seed(0)
    # Decoders are the same whatever encodes the picture.
    model = sam(nn.Identity()).eval().requires_grad_(False)
    cut = {source.name: source for source in SamExport(model).graphs() if source.name in SLOTS}
    sources = [*cut.values(), *(_plain(model, source) for source in cut.values())]
    return {source.name: write_graph(source, folder) for source in sources}


def _plain(model: Sam, cut: GraphSource) -> GraphSource:
    prompt = {name: cut.inputs[name] for name in ("point_coords", "point_labels")}
    channels, side = 256, 64
    inputs = {
        "embedding": torch.zeros(1, channels, side, side),
        **prompt,
        "mask_input": torch.zeros(1, 1, 4 * side, 4 * side),
        "has_mask_input": torch.zeros(1),
    }
    return GraphSource(f"plain_{cut.name}", PlainDecoder(model), inputs, ANSWER)
