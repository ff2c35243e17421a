"""What the encoder makes of one frame: a value that carries its own geometry and time."""

from __future__ import annotations

from dataclasses import dataclass

from sam_edge.geometry import View
from sam_edge.tensors import Arrays


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """What the encoder makes of one frame. Any prompt can meet it, on any thread, any number of times."""

    tensors: Arrays
    """The encoder's outputs by name; `embedding` is (1, channels, h, w)."""
    view: View
    """Which part of the frame was seen, and at which size."""
    capture_ns: int
    """When the frame was taken, on the clock of whoever gave it."""
    model_id: str
    """The model that made it; no other can decode it."""

    def __repr__(self) -> str:
        width, height = self.view.frame_wh
        shape = "x".join(map(str, self.tensors["embedding"].shape))
        return f"<Embedding {shape} of {self.model_id}, frame {width}x{height} at {self.capture_ns} ns>"
