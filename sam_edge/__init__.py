"""Segment Anything on edge devices: look at something, get its mask.

segmenter = sam_edge.load("nano")
embedding = segmenter.encode(image_rgb)
masks = segmenter.decode(embedding, sam_edge.Prompt.points([(320, 240)]))
masks.best().binary[0]

for result in sam_edge.stream("0", "neon://neon.local"):  # a camera and an eye tracker, live
    result.masks, result.freshness, result.embedding_age_ms
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
    from sam_edge.streaming.gaze.sample import GazeSample
    from sam_edge.streaming.live.aio import as_async
    from sam_edge.streaming.live.api import stream
    from sam_edge.streaming.live.config import StreamConfig
    from sam_edge.streaming.live.stream import Stream
    from sam_edge.streaming.objects import TrackedBox
    from sam_edge.streaming.result import Result
    from sam_edge.tensors import TensorSpec

__all__ = [
    "Backend",
    "BundleError",
    "CheckpointError",
    "Embedding",
    "EngineError",
    "FidelityError",
    "GazeSample",
    "InputError",
    "Masks",
    "MissingExtraError",
    "OutputError",
    "Prompt",
    "Result",
    "SamEdgeError",
    "SamPredictor",
    "Segmenter",
    "Session",
    "SessionOptions",
    "Stream",
    "StreamConfig",
    "TensorSpec",
    "TrackedBox",
    "View",
    "as_async",
    "load",
    "stream",
]

# Name -> module, imported when the name is first asked for: `sam-edge --help` needs neither numpy nor OpenCV.
_HOMES = {
    "Backend": "sessions.backend",
    "Embedding": "embedding",
    "GazeSample": "streaming.gaze.sample",
    "Masks": "masks",
    "Prompt": "prompt",
    "Result": "streaming.result",
    "SamPredictor": "predictor",
    "Segmenter": "segmenter",
    "Session": "sessions.session",
    "SessionOptions": "sessions.session",
    "Stream": "streaming.live.stream",
    "StreamConfig": "streaming.live.config",
    "TensorSpec": "tensors",
    "TrackedBox": "streaming.objects",
    "View": "geometry",
    "as_async": "streaming.live.aio",
    "load": "loading",
    "stream": "streaming.live.api",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sam_edge' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"sam_edge.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
