"""Segment Anything on edge devices: look at something, get its mask.

segmenter = sam_edge.load("nano")
embedding = segmenter.encode(image_rgb)
masks = segmenter.decode(embedding, sam_edge.Prompt.points([(320, 240)]))
masks.best().binary[0]
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam_edge.embedding import Embedding
    from sam_edge.errors import (
        BundleError,
        CheckpointError,
        EngineError,
        FidelityError,
        InputError,
        MissingExtraError,
        OutputError,
        SamEdgeError,
    )
    from sam_edge.geometry import View
    from sam_edge.loading import load
    from sam_edge.masks import Masks
    from sam_edge.predictor import SamPredictor
    from sam_edge.prompt import Prompt
    from sam_edge.segmenter import Segmenter
    from sam_edge.sessions.backend import Backend
    from sam_edge.sessions.session import Session, SessionOptions
    from sam_edge.tensors import TensorSpec

__all__ = [
    "Backend",
    "BundleError",
    "CheckpointError",
    "Embedding",
    "EngineError",
    "FidelityError",
    "InputError",
    "Masks",
    "MissingExtraError",
    "OutputError",
    "Prompt",
    "SamEdgeError",
    "SamPredictor",
    "Segmenter",
    "Session",
    "SessionOptions",
    "TensorSpec",
    "View",
    "load",
]

# Name -> module, imported when the name is first asked for: `sam-edge --help` needs neither numpy nor OpenCV.
_HOMES = {
    "Backend": "sessions.backend",
    "Embedding": "embedding",
    "Masks": "masks",
    "Prompt": "prompt",
    "SamPredictor": "predictor",
    "Segmenter": "segmenter",
    "Session": "sessions.session",
    "SessionOptions": "sessions.session",
    "TensorSpec": "tensors",
    "View": "geometry",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sam_edge' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"sam_edge.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
