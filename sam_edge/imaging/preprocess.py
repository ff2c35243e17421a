"""How an image becomes the encoder's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Resize = Literal["antialias", "area", "bilinear"]
"""`antialias`: Pillow's bilinear, as SAM was trained. `area`: OpenCV's INTER_AREA, faster. `bilinear`:
without antialiasing or rounding, as EfficientSAM was trained."""


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the encoder's input."""

    mean: tuple[float, float, float]
    """Subtracted from each channel (RGB, 0..255)."""
    std: tuple[float, float, float]
    """Divides each channel (RGB, 0..255)."""
    resize: Resize
    """How an image is scaled to the encoder's size."""
