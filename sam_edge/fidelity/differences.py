"""How far an engine's answers are from those of the reference, collected over images and prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import FidelityError
from sam_edge.fidelity.result import FidelityResult
from sam_edge.masks import THRESHOLD
from sam_edge.prompt import Prompt
from sam_edge.segmenter import MASK_STRIDE


@dataclass(frozen=True, eq=False)
class ReferenceAnswer:
    """The reference's answer to one prompt."""

    prompt: Prompt
    multimask: bool | None
    """As `Segmenter.decode` takes it."""
    logits: NDArray[np.float32]
    """(k, h, w) with k = 1 or 3 masks; above 0 is mask."""
    predicted_iou: NDArray[np.float32]
    """(k,), 0 to 1."""


@dataclass(eq=False)
class _Group:
    """Answers of one graph to one kind of prompt: one wrong graph must not hide behind the others."""

    iou_errors: list[float] = field(default_factory=list)
    shared: int = 0
    """Pixels of both masks, of all masks together."""
    union: int = 0
    normal: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 3)))
    """Normal equations of the shift (x, y): two by two, and the right side as the third column."""

    def mask_iou(self) -> float:
        return self.shared / self.union if self.union else 1.0

    def shift_px(self) -> float:
        if not np.isfinite(self.normal).all():
            return float("nan")
        # An image without slopes says nothing about shifts: the least-norm answer is a shift of 0.
        shift = np.linalg.lstsq(self.normal[:, :2], self.normal[:, 2], rcond=None)[0]
        return float(np.linalg.norm(shift)) * MASK_STRIDE


class Differences:
    """Filled embedding by embedding and answer by answer; `result` sums up."""

    def __init__(self) -> None:
        self._cosines: list[float] = []
        self._most: dict[str, list[float]] = {}
        self._mask_ious: list[float] = []
        self._frame_ious: list[float] = []
        self._groups: dict[Hashable, _Group] = defaultdict(_Group)

    def embedding(self, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
        """Compare the embeddings of one image, (n,) values of each."""
        self._note("embedding", ours, theirs)
        mine, other = ours.astype(np.float64), theirs.astype(np.float64)
        # Infinities become NaN, which fails.
        with np.errstate(invalid="ignore", over="ignore"):
            norm = float(np.linalg.norm(mine) * np.linalg.norm(other))
            self._cosines.append(float(mine @ other) / norm if norm else float("nan"))

    def answer(
        self,
        group: Hashable,
        logits: NDArray[np.float32],
        iou: NDArray[np.float32],
        expected: ReferenceAnswer,
        stride: int = 1,
    ) -> None:
        """Compare what was answered to one prompt.

        Args:
            group: answers of the same group are judged together.
            logits: (k, h, w), every `stride`-th row and column, as the reference has them.
            iou: (k,), the predicted IoU.
            expected: the reference's answer.
            stride: rows and columns of the decoder's logits per row and column here.
        """
        self._note("logits", logits, expected.logits)
        _check_shape("predicted IoU", iou, expected.predicted_iou)
        found = self._groups[group]
        found.iou_errors += np.abs(iou - expected.predicted_iou).tolist()
        shared, union = _overlap(logits, expected)
        found.shared += int(shared.sum())
        found.union += int(union.sum())
        self._mask_ious += _ious(shared, union)
        # Least squares: the one shift (x, y) that explains most of the difference, to first order.
        down, right = np.gradient(expected.logits.astype(np.float64), stride, axis=(1, 2))
        slopes = np.stack([right.ravel(), down.ravel()])
        with np.errstate(invalid="ignore", over="ignore"):
            off = (expected.logits - logits).astype(np.float64).ravel()
            found.normal += np.concatenate([slopes @ slopes.T, (slopes @ off)[:, None]], axis=1)

    def own_frame(self, logits: NDArray[np.float32], expected: ReferenceAnswer) -> None:
        """Compare the masks (k, h, w) on a frame that the engine prepared itself."""
        self._frame_ious += mask_ious(logits, expected)

    def result(self, frame_rms: Sequence[float]) -> FidelityResult:
        """Everything that was found, not judged yet.

        Args:
            frame_rms: of every frame that the engine prepared itself, what that changes in the embedding, as a
                share of it.
        """
        ious = np.array(self._mask_ious)
        errors = [np.array(group.iou_errors) for group in self._groups.values()]
        # min, max and mean of numpy keep NaN.
        return FidelityResult(
            embedding_cosine=float(np.min(self._cosines)),
            embedding_rms=float(np.max(self._most["embedding_rms"])),
            embedding_max=float(np.max(self._most["embedding_max"])),
            logits_rms=float(np.max(self._most["logits_rms"])),
            logits_max=float(np.max(self._most["logits_max"])),
            iou_max=float(np.max([error.max() for error in errors])),
            iou_error=float(np.max([error.mean() for error in errors])),
            mask_iou_mean=float(ious.mean()),
            mask_iou_group=float(np.min([group.mask_iou() for group in self._groups.values()])),
            mask_iou_p1=float(np.quantile(ious, 0.01)),
            shift_px=float(np.max([group.shift_px() for group in self._groups.values()])),
            frame_rms=float(np.max(frame_rms)) if len(frame_rms) else 0.0,
            frame_mask_iou=float(np.mean(self._frame_ious)) if self._frame_ious else 1.0,
            masks=len(ious),
            images=len(self._cosines),
        )

    def _note(self, name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
        """The largest difference, and the RMS relative to the reference's."""
        _check_shape(name, ours, theirs)
        with np.errstate(over="ignore", invalid="ignore"):
            difference = (ours - theirs).astype(np.float64)
            size = float(np.sqrt(np.mean(np.square(theirs, dtype=np.float64))))
            rms = float(np.sqrt(np.mean(np.square(difference)))) / max(size, 1e-12)
        self._most.setdefault(f"{name}_max", []).append(float(np.abs(difference).max()))
        self._most.setdefault(f"{name}_rms", []).append(rms)


def mask_ious(logits: NDArray[np.float32], expected: ReferenceAnswer) -> list[float]:
    """IoU of every mask of an answer (k, h, w) with the reference's."""
    return _ious(*_overlap(logits, expected))


def _check_shape(name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    if ours.shape != theirs.shape:
        raise FidelityError(
            f"the engine's {name} has shape {ours.shape}, the model's {theirs.shape}",
            hint="export the model again",
        )


def _overlap(
    logits: NDArray[np.float32], expected: ReferenceAnswer
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels (k,) that a mask shares with the reference's, and that either has."""
    ours, theirs = logits > THRESHOLD, expected.logits > THRESHOLD
    return (ours & theirs).sum((1, 2)), (ours | theirs).sum((1, 2))


def _ious(shared: NDArray[np.int64], union: NDArray[np.int64]) -> list[float]:
    """Of every mask; two empty ones agree."""
    ious: list[float] = np.where(union == 0, 1.0, shared / np.maximum(union, 1)).tolist()
    return ious
