"""How far an engine is from the PyTorch model, in numbers, and the limits it must keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from sam_edge.bundle.manifest import Precision

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an engine must keep; the fields are those of `FidelityResult`.

    The mean of the masks' IoU is judged, and of the worst no more than a floor: the mask of a few pixels, which
    every model gives now and then, loses a tenth of its IoU with one pixel. A wrong engine moves the mean; one
    graph of several that is wrong moves that of its own answers, which are few, and so are taken together.
    What moves masks little, a shift by part of a pixel, is judged by itself.
    """

    mask_iou_mean: float
    """At least."""
    mask_iou_group: float
    """At least. A group's masks are few, and get three times the room of all."""
    mask_iou_p1: float
    """At least."""
    embedding_cosine: float
    """At least."""
    embedding_rms: float
    """At most."""
    logits_rms: float
    """At most."""
    iou_error: float
    """At most."""
    shift_px: float
    """At most."""
    frame_rms: float = 1e-2
    """At most. An engine's own frames may be a grey level off; with another normalisation it is more."""
    frame_mask_iou: float = 0.99
    """At least. A grey level in a tenth of the values, which is what rounding makes of an enlarged image, costs
    nano 0.006."""


LIMITS: Mapping[Precision, Limits] = {
    "fp32": Limits(
        mask_iou_mean=0.999,
        mask_iou_group=0.997,
        mask_iou_p1=0.98,
        embedding_cosine=0.99999,
        embedding_rms=1e-3,
        logits_rms=5e-3,
        iou_error=2e-3,
        shift_px=0.02,
    ),
    "fp16": Limits(
        mask_iou_mean=0.995,
        mask_iou_group=0.985,
        mask_iou_p1=0.90,
        embedding_cosine=0.999,
        embedding_rms=5e-2,
        logits_rms=5e-2,
        iou_error=1e-2,
        shift_px=0.1,
    ),
}
LEAST = frozenset({"mask_iou_mean", "mask_iou_group", "mask_iou_p1", "embedding_cosine", "frame_mask_iou"})
"""Limits that are lower bounds."""


@dataclass(frozen=True, kw_only=True)
class FidelityResult:
    """What was measured of an engine, over all images and prompts. NaN is what was not measured, and fails."""

    mask_iou_mean: float = NAN
    """Mean IoU of the engine's masks with the reference's, 0 to 1."""
    mask_iou_group: float = NAN
    """IoU of all masks of one graph and kind of prompt taken together, of the worst such group, 0 to 1."""
    mask_iou_p1: float = NAN
    """1st percentile of the masks' IoU, 0 to 1."""
    embedding_cosine: float = NAN
    """Cosine of the embeddings, of the worst image, -1 to 1."""
    embedding_rms: float = NAN
    """RMS of the embedding's difference as a share of the reference's RMS, of the worst image."""
    embedding_max: float = NAN
    """Largest difference of an embedding's value."""
    logits_rms: float = NAN
    """RMS of the logits' difference as a share of the reference's RMS, of the worst prompt."""
    logits_max: float = NAN
    """Largest difference of a logit."""
    iou_error: float = NAN
    """Mean difference of the predicted IoU, of the worst group."""
    iou_max: float = NAN
    """Largest difference of a predicted IoU."""
    shift_px: float = NAN
    """How far the masks of a group are shifted together, in pixels of the encoder's input; the worst group."""
    frame_rms: float = NAN
    """RMS of what it changes in the embedding that the engine prepares frames itself, as a share of the
    embedding's RMS; the worst frame and layout. 0 where it does not."""
    frame_mask_iou: float = NAN
    """Mean IoU of the masks on frames that the engine prepares itself, 0 to 1; 1 where it does not."""
    masks: int = 0
    """How many masks were compared."""
    images: int = 0
    """How many images they are on."""
    against_onnx: bool = False
    """Whether the reference was the FP32 graphs and not PyTorch."""
    passed: bool | None = None
    """Whether all limits were kept; None: not compared with limits yet."""

    def violations(self, limits: Limits) -> list[str]:
        """Which limits are broken, such as "shift_px 0.51 > 0.1"; nothing if the engine passes."""
        found = []
        for item in fields(limits):
            value, limit, is_least = getattr(self, item.name), getattr(limits, item.name), item.name in LEAST
            # `not`, so that NaN fails as well.
            if not (value >= limit if is_least else value <= limit):
                found.append(f"{item.name} {value:.4g} {'<' if is_least else '>'} {limit:g}")
        return found

    def judged(self, limits: Limits, *, against_onnx: bool) -> FidelityResult:
        """The same with the verdict by these limits, and what the reference was."""
        return replace(self, against_onnx=against_onnx, passed=not self.violations(limits))

    def to_document(self) -> dict[str, float]:
        """Field -> number or truth value, as the manifest keeps it; without what was not measured."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}

    @classmethod
    def from_document(cls, document: Mapping[str, float]) -> FidelityResult:
        """What `to_document` made; other entries are left out."""
        kinds: dict[str, Any] = {"masks": int, "images": int, "against_onnx": bool, "passed": bool}
        known = {item.name for item in fields(cls)}
        return cls(**{name: kinds.get(name, float)(document[name]) for name in known & document.keys()})
