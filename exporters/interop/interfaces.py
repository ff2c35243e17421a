"""Graphs for programs that already read SAM as ONNX, beside the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import nn

from sam_edge.bundle.manifest import Interface
from sam_edge.errors import FidelityError, InputError
from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.decoders.official_decoder import OfficialDecoder
from sam_edge.modeling.decoders.prompt_encoder import TOKEN_PX
from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.families import Family
from sam_edge.modeling.sam import Sam

from .check import measure
from .graphs import image_encoder, official_decoder

OFFICIAL, SAMEXPORTER = "official", "samexporter"
FILES: Mapping[str, Mapping[str, str]] = {
    OFFICIAL: {"decoder": "official.decoder.onnx", "decoder_single": "official.decoder.single.onnx"},
    SAMEXPORTER: {"encoder": "samexporter.encoder.onnx", "decoder_single": "samexporter.decoder.onnx"},
}
"""Interface -> graph -> file. `decoder` gives all four masks, `decoder_single` the one that the official
`--return-single-mask` picks, which is also what samexporter's own instructions export."""
EXAMPLE_POINTS = 5
LIMITS: Mapping[str, float] = {
    "embedding_rms": 1e-4,
    "logits_rms": 5e-3,
    "masks_rms": 5e-3,
    "iou_max": 5e-3,
    "mask_disagreement": 5e-3,
}
"""What float32 sums in another order may cost, on the worst prompt; see `check.measure` for what each
is. MobileSAM with random weights, which amplify, comes to a quarter of it."""


def check_interface(name: str, model: nn.Module, family: Family) -> Sam:
    """The model, if it can have that interface.

    Args:
        name: `official` or `samexporter`.
        model: what was loaded.
        family: its family, with the input size that is asked for.

    Raises:
        InputError: it cannot; the message says why.
    """
    if name not in FILES:
        raise InputError(f"unknown interface {name!r}", hint=f"choose {' or '.join(FILES)}")
    size = family.input_size
    option = f"--interface {name}"
    if not isinstance(model, Sam):
        raise InputError(f"{option} is for families with SAM's decoder", hint="leave it out")
    if size.fixed_wh is not None:
        raise InputError(
            f"{option} is of a square input", hint="leave out --input, or export a second folder with it"
        )
    if not size.square or size.fit != "pad":
        raise InputError(f"{option} pads images into a square, this family does not", hint="leave it out")
    if name == SAMEXPORTER and (size.encoder_stride != 1 or family.preprocess.resize != "antialias"):
        raise InputError(
            f"{option} gets images scaled to {size.long_side}, this family's encoder takes others",
            hint=f"use --interface {OFFICIAL} and the embedding of encoder.onnx",
        )
    return model


def make_interface(name: str, model: nn.Module, family: Family, folder: Path) -> Interface:
    """Write an interface's graphs into a model's folder, and compare them with PyTorch's answers.

    Raises:
        InputError: the model cannot be behind that interface.
        FidelityError: they differ.
    """
    sam = check_interface(name, model, family)
    paths = write_interface(name, sam, family, folder)
    found = measure(paths, sam, family)
    # `not <=` so that NaN fails as well.
    above = [
        f"{kind} {value:.2g} > {LIMITS[kind]:g}" for kind, value in found.items() if not value <= LIMITS[kind]
    ]
    if above:
        raise FidelityError(
            f"the graphs for --interface {name} differ from the PyTorch model: {', '.join(above)}; "
            "nothing was written"
        )
    return Interface({graph: path.name for graph, path in paths.items()}, found)


def write_interface(name: str, sam: Sam, family: Family, folder: Path) -> Mapping[str, Path]:
    """Write an interface's graphs into a folder that holds the model's `encoder.onnx`.

    Returns:
        Graph -> file, as in FILES.
    """
    paths = {graph: folder / file for graph, file in FILES[name].items()}
    side_px = family.input_size.long_side
    core_path = write_graph(_core(sam, side_px), folder)
    core = onnx.load(core_path)
    core_path.unlink()
    for graph, path in paths.items():
        if graph == "encoder":
            encoder = onnx.load(folder / "encoder.onnx", load_external_data=False)
            onnx.save(image_encoder(encoder, side_px, family.preprocess), path)
        else:
            onnx.save(official_decoder(core, side_px, single=graph == "decoder_single"), path)
    return paths


def _core(sam: Sam, side_px: int) -> GraphSource:
    side, channels = side_px // TOKEN_PX, sam.prompt_encoder.no_mask().shape[1]
    return GraphSource(
        "core",
        OfficialDecoder(sam),
        {
            "image_embeddings": torch.zeros(1, channels, side, side),
            "point_coords": torch.zeros(1, EXAMPLE_POINTS, 2),
            "point_labels": torch.ones(1, EXAMPLE_POINTS),
            "mask_input": torch.zeros(1, 1, 4 * side, 4 * side),
            "has_mask_input": torch.zeros(1),
        },
        ("logits", "iou"),
        {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
    )
