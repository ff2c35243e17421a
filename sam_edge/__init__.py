"""Segment Anything on edge devices: look at something, get its mask.

segmenter = sam_edge.load("nano")
embedding = segmenter.encode(image_rgb)
masks = segmenter.decode(embedding, sam_edge.Prompt.points([(320, 240)]))
masks.best().binary[0]
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from sam_edge.masks import Masks
    from sam_edge.predictor import SamPredictor
    from sam_edge.prompt import Prompt
    from sam_edge.segmenter import Embedding, Segmenter, load

__all__ = [
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
    "View",
    "load",
]

# Name -> module, imported when the name is first asked for: `sam-edge --help` needs neither numpy nor OpenCV.
_HOMES = {
    "Embedding": "segmenter",
    "Masks": "masks",
    "Prompt": "prompt",
    "SamPredictor": "predictor",
    "Segmenter": "segmenter",
    "View": "geometry",
    "load": "segmenter",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sam_edge' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"sam_edge.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
