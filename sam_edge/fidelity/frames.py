"""Measures an engine's graphs and the way it prepares frames separately.

Engines that make the encoder's input themselves (`FrameSession`) may be a grey level off, which is more than
FP32 graphs may differ by. So the graphs are measured on images that the processor prepared; what the
engine's own way changes, in the embedding and in the user's masks, is measured beside it, with its own limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, encoder_input, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.sessions.session import FrameSession, Session, SessionLoader, SessionOptions, Wrapper
from sam_edge.tensors import Arrays


@dataclass(frozen=True, eq=False)
class Frames:
    """A loader whose sessions are given images that the processor prepared."""

    loader: SessionLoader
    rms: list[float] = field(default_factory=list)
    """Of every frame that a session could have prepared itself: RMS of what that changes in the embedding, as a
    share of the embedding's RMS."""
    own: list[Arrays] = field(default_factory=list)
    """The encoder's outputs for the last frame as the session prepared it; empty or one."""

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        engine = self.loader(graph, options)
        return _Compared(engine, self) if hasattr(engine, "run_frame") else engine

    def own_embedding(self, embedding: Embedding) -> Embedding | None:
        """The embedding that was just made, of a frame as the engine prepares it; None if it prepares none."""
        return replace(embedding, tensors=self.own.pop()) if self.own else None


class _Compared(Wrapper):
    """Prepares frames in both ways, and answers to the processor's."""

    session: FrameSession

    def __init__(self, engine: Session, frames: Frames) -> None:
        super().__init__(engine)
        self._frames = frames

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        # The first image in every layout that a camera may have.
        others: tuple[Layout, ...] = ("bgr", "nv12") if not self._frames.rms else ()
        for other in others:
            if other != "nv12" or not (image.shape[0] % 2 or image.shape[1] % 2):
                self._compare(laid_out(image, other), view, preprocess, other)
        own, answer = self._compare(image, view, preprocess, layout)
        self._frames.own[:] = [own]
        return answer

    def _compare(
        self, frame: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout
    ) -> tuple[Arrays, Arrays]:
        """What the encoder makes of a frame as the engine prepares it, and as the processor does."""
        # An engine may prepare the second frame of a size in another way, as all later ones of a camera.
        own = [self.session.run_frame(frame, view, preprocess, layout) for _ in range(2)][1]
        answer = self.run({"image": encoder_input(to_rgb(frame, layout), view, preprocess)})
        theirs = _embedding(answer)
        size = float(np.sqrt(np.mean(np.square(theirs))))
        off = float(np.sqrt(np.mean(np.square(_embedding(own) - theirs))))
        self._frames.rms.append(off / max(size, 1e-12))
        return own, answer


def laid_out(image: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """An image (H, W, 3) RGB as a camera would give it; for NV12 H and W are even."""
    if layout != "nv12":
        return np.ascontiguousarray(image if layout == "rgb" else image[..., ::-1])
    height, width, _ = image.shape
    planar = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    blue, red = planar[height:].reshape(2, -1)
    return np.concatenate([planar[:height], np.stack([blue, red], axis=1).reshape(height // 2, width)])


def _embedding(answer: Arrays) -> NDArray[np.float64]:
    return np.array(answer["embedding"], np.float64)
