"""An image encoder with random weights, as a graph and as PyTorch runs it, to measure one against the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sam_edge.modeling.families import find_family

from .onnx_graph import write_graph

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def write_encoder(family: str, folder: Path) -> tuple[Path, Encode]:
    """Write `encoder.onnx` of a family.

    Returns:
        The file, and the same weights in PyTorch's eager mode: picture (1, 3, H, W) -> embedding.
    """
    torch.manual_seed(0)
    spec = find_family(family)
    exportable = spec.exportable(spec.build().eval().requires_grad_(False))
    source = next(source for source in exportable.graphs() if source.name == "encoder")

    def encode(image: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            embedding: NDArray[np.float32] = exportable.encode(torch.from_numpy(image))["embedding"].numpy()
        return embedding

    return write_graph(source, folder), encode


def use_threads(count: int) -> None:
    """How many cores PyTorch may use from now on."""
    torch.set_num_threads(count)
