"""Encoders and decoders with random weights, as graphs and as PyTorch runs them, for speed measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sam_edge.exporters.interop.graphs import official_decoder
from sam_edge.modeling.decoders.plain_decoder import PlainDecoder
from sam_edge.modeling.decoders.prompt_encoder import TOKEN_PX
from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.families import find_family, sam
from sam_edge.modeling.sam import Sam
from sam_edge.modeling.sam_export import ANSWER, SamExport

from .onnx_graph import write_graph

OFFICIAL = "official_decoder"
CHANNELS = 256
Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def write_decoders(folder: Path) -> dict[str, Path]:
    """Write decoders at SAM's full size.

    Returns:
        The files of `decoder` and `decoder_many`; of their `plain_` twins with as many slots; and of
        `official_decoder`, the plain one with the six inputs and three outputs of segment_anything's export.
    """
    torch.manual_seed(0)
    # Decoders are the same whatever encodes the image.
    model = sam(nn.Identity()).eval().requires_grad_(False)
    cut = {source.name: source for source in SamExport(model).graphs() if source.role == "decoder"}
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


def write_encoder(family: str, folder: Path) -> tuple[Path, Encode]:
    """Write `encoder.onnx` of a family.

    Returns:
        The file, and the same weights in PyTorch's eager mode: image (1, 3, H, W) -> embedding.
    """
    torch.manual_seed(0)
    spec = find_family(family)
    exportable = spec.exportable(spec.build().eval().requires_grad_(False))
    source = next(source for source in exportable.graphs() if source.role == "encoder")

    def encode(image: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            embedding: NDArray[np.float32] = exportable.encode(torch.from_numpy(image))["embedding"].numpy()
        return embedding

    return write_graph(source, folder), encode


def use_threads(count: int) -> None:
    """How many cores PyTorch may use from now on."""
    torch.set_num_threads(count)
