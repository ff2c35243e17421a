"""What an engine is compared with on a device: PyTorch's answers, or those of the FP32 graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import MissingExtraError
from sam_edge.fidelity.gate import Reference, ask, measure
from sam_edge.fidelity.result import LIMITS, Limits
from sam_edge.fidelity.self_test import read_self_test, self_test_limits
from sam_edge.lazy import import_object
from sam_edge.progress import Progress, part_of
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import Runtime, find_runtime

from .staging import ShapeCheckedLoader

TRUSTED = "onnxruntime:cpu"
"""Runs the FP32 graphs that the others are compared with, after it was compared with PyTorch's own answers:
all engines are made from the same graphs. So an export checks it whatever the targets are."""
PYTORCH, ONNX, ITSELF = "PyTorch", "FP32 ONNX", "itself"
FROM_CHECKPOINT = "sam_edge.exporters.pytorch_answers:from_checkpoint"
UNKNOWN = "the folder has no answers of PyTorch to compare it with: export the model again with this version"


@dataclass(frozen=True, eq=False)
class Expected:
    """What engines are compared with."""

    answers: Sequence[Reference]
    against: str
    """Who gave them: ONNX, PYTORCH or ITSELF."""
    note: str | None = None
    """What the user has to know of the comparison."""
    is_self_test: bool = False
    """Whether these are the few answers that the folder brings along."""

    def limits(self, engine: EngineSpec) -> Limits:
        return (self_test_limits if self.is_self_test else LIMITS.__getitem__)(engine.precision)


@dataclass(frozen=True, eq=False)
class References:
    """What each engine is compared with."""

    trusted: Expected
    """What TRUSTED's FP32 engine is."""
    others: Expected

    def of(self, engine: EngineSpec) -> Expected:
        return self.trusted if engine == EngineSpec(TRUSTED) else self.others


def pytorch_references(
    bundle: Bundle, images: Sequence[NDArray[np.uint8]], checkpoint: Path, progress: Progress
) -> References:
    """PyTorch's own answers to every image.

    Raises:
        InputError, CheckpointError: not the checkpoint that the folder was exported from.
        MissingExtraError: torch is not installed.
    """
    progress("running PyTorch", 0.0)
    asked = import_object(FROM_CHECKPOINT)(checkpoint, bundle.manifest, images, progress)
    expected = Expected(asked, PYTORCH)
    return References(expected, expected)


def graph_references(
    bundle: Bundle,
    work: Bundle,
    images: Sequence[NDArray[np.uint8]],
    threads: int | None,
    progress: Progress,
) -> References:
    """The answers of the FP32 graphs in TRUSTED, if that answers the self test as PyTorch did.

    Args:
        bundle: the model folder.
        work: the same, as it is opened.
        images: (H, W, 3) uint8 RGB each.
        threads: cores that TRUSTED may use; None: all.
        progress: shows that it runs.
    """
    progress("running the FP32 graphs", 0.0)
    loader = trusted_runtime()
    name = loader.name
    with Segmenter(work, ShapeCheckedLoader(loader, bundle, EngineSpec(name)), threads=threads) as segmenter:
        self_test = read_self_test(bundle, segmenter)
        wrong = self_test and measure(segmenter, [self_test]).violations(self_test_limits("fp32"))
        asked = [] if wrong else ask(segmenter, images, part_of(progress, 0.0, 1.0, "running the FP32 graphs"))
    if self_test is None:
        return References(Expected(asked, ITSELF, UNKNOWN), Expected(asked, ONNX))
    if not wrong:
        return References(Expected([self_test], PYTORCH, is_self_test=True), Expected(asked, ONNX))
    note = (
        f"{name} gives other answers here than PyTorch did at export ({wrong[0]}), and nothing can be "
        f"compared with it: export the model again, or, if that changes nothing, install another "
        f"{name.split(':')[0]}"
    )
    known = Expected([self_test], PYTORCH, note, is_self_test=True)
    return References(known, known)


def trusted_runtime() -> Runtime:
    """TRUSTED; where that is not installed, the slow one, which computes the same.

    Raises:
        MissingExtraError: neither is installed; the message names TRUSTED's.
    """
    try:
        return find_runtime(TRUSTED)
    except MissingExtraError as missing:
        try:
            return find_runtime("reference")
        except MissingExtraError:
            raise missing from None
