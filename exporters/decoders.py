"""The plain and the cut decoder as graphs with random weights, for measuring one against the other."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.families import sam
from sam_edge.modeling.plain_decoder import PlainDecoder
from sam_edge.modeling.prompt_encoder import TOKEN_PX
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import ANSWER, SLOTS, SamExport

from .foreign_graphs import official_decoder
from .onnx_graph import write_graph

OFFICIAL = "official_decoder"
CHANNELS = 256


def write_decoders(folder: Path) -> dict[str, Path]:
    """Write decoders at SAM's full size.

    Returns:
        The files of `decoder` and `decoder_many`; of their `plain_` twins with as many slots; and of
        `official_decoder`, the plain one with the six inputs and three outputs of segment_anything's export.
    """
    torch.manual_seed(0)
    # Decoders are the same whatever encodes the picture.
    model = sam(nn.Identity()).eval().requires_grad_(False)
    cut = {source.name: source for source in SamExport(model).graphs() if source.name in SLOTS}
    sources = [*cut.values(), *(_plain(model, source) for source in cut.values())]
    paths = {source.name: write_graph(source, folder) for source in sources}
    return paths | {OFFICIAL: _write_official(model, folder)}


def _plain(model: Sam, cut: GraphSource) -> GraphSource:
    prompt = {name: cut.inputs[name] for name in ("point_coords", "point_labels")}
    return GraphSource(f"plain_{cut.name}", PlainDecoder(model), _plain_inputs(model, prompt), ANSWER)


def _write_official(model: Sam, folder: Path) -> Path:
    prompt = {"point_coords": torch.zeros(1, 2, 2), "point_labels": torch.ones(1, 2)}
    points = {name: {1: "num_points"} for name in prompt}
    source = GraphSource(OFFICIAL, PlainDecoder(model), _plain_inputs(model, prompt), ANSWER, points)
    path = write_graph(source, folder)
    onnx.save(official_decoder(onnx.load(path), model.prompt_encoder.image_size, single=False), path)
    return path


def _plain_inputs(model: Sam, prompt: dict[str, Tensor]) -> dict[str, Tensor]:
    side = model.prompt_encoder.image_size // TOKEN_PX
    return {
        "image_embeddings": torch.zeros(1, CHANNELS, side, side),
        **prompt,
        "mask_input": torch.zeros(1, 1, 4 * side, 4 * side),
        "has_mask_input": torch.zeros(1),
    }
