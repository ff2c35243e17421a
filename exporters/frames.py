"""Judging an engine's graphs and the way it prepares frames apart.

Engines that make the encoder's input themselves (`FrameRuntime`) may be a grey level off, which is more than
FP32 graphs may differ by. So the graphs are measured on pictures that the processor prepared, and the engine's
own way is held against that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.geometry import View
from sam_edge.image import Layout, encoder_input, to_rgb
from sam_edge.manifest import Preprocess
from sam_edge.runtime import FrameRuntime, OpenRuntime, Runtime
from sam_edge.tensors import Arrays
from sam_edge.wrapped import Wrapped


@dataclass(frozen=True, eq=False)
class Frames:
    """An opener whose engines are given pictures that the processor prepared."""

    opener: OpenRuntime
    rms: list[float] = field(default_factory=list)
    """Of every picture that an engine could have prepared itself: how much the embedding changes if it does,
    as a share of it."""

    def __call__(self, graph: Path, threads: int | None = None) -> Runtime:
        engine = self.opener(graph, threads)
        return _Compared(engine, self.rms) if hasattr(engine, "run_frame") else engine


class _Compared(Wrapped):
    """Prepares frames in both ways, and answers to the processor's."""

    _engine: FrameRuntime

    def __init__(self, engine: Runtime, rms: list[float]) -> None:
        super().__init__(engine)
        self._rms = rms

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        # For a size that comes again an engine may prepare frames otherwise: that is the way of a camera's.
        own = [_embedding(self._engine.run_frame(image, view, preprocess, layout)) for _ in range(2)][1]
        answer = self.run({"image": encoder_input(to_rgb(image, layout), view, preprocess)})
        theirs = _embedding(answer)
        size = float(np.sqrt(np.mean(np.square(theirs))))
        self._rms.append(float(np.sqrt(np.mean(np.square(own - theirs)))) / max(size, 1e-12))
        return answer


def _embedding(answer: Arrays) -> NDArray[np.float64]:
    return np.array(answer["embedding"], np.float64)
