"""Segment Anything on edge devices: look at something, get its mask.

segmenter = sam_edge.load("nano")
embedding = segmenter.encode(image_rgb)
masks = segmenter.decode(embedding, sam_edge.Prompt.points([(320, 240)]))
masks.best().binary[0]
"""

from sam_edge.errors import (
    BundleError,
    CheckpointError,
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
