"""Following an object that the gaze has left, by its own earlier mask, until it is lost and said to be lost.

    Followed ──carry──▶ Attempt (box, middle and logits of the carried mask) ──decode──▶ judge ──▶ Followed

Pure steps: who drives them decodes in between. An answer counts if the model is sure of it, its inside looks as
the object did when following began (in the encoder's eyes), and it has not grown or shrunk at once. One that
does not count leaves the carried mask in force; several in a row lose the object, as does leaving the frame.
A model of single images does not know one object from its twin: nothing here finds a lost object again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.masks import THRESHOLD, Masks
from sam_edge.prompt import Prompt
from sam_edge.streaming.choice import choose
from sam_edge.streaming.foveation import in_view
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.motion import Motion

MOST_LOGIT = 8.0
"""Logits of a mask prompt are cut at this: a carried mask has -32 where nothing was seen, which no decoder
gives by itself."""
FollowStatus = Literal["followed", "unsure", "lost"]
"""`followed`: the last answer counts. `unsure`: it does not, and an earlier mask is shown. `lost`: for good."""
Reason = Literal["", "left", "doubtful", "unlike", "size"]
"""Why an answer does not count. `left`: the object has left the view, or is too small. `doubtful`: the model's
predicted IoU. `unlike`: it looks like something else. `size`: it grew or shrank too much."""


@dataclass(frozen=True)
class FollowConfig:
    """When an answer counts; measured on videos (docs/measurements.md)."""

    margin: float = 0.1
    """The box of the prompt is larger than the carried mask by this share of its side, on every side."""
    least_predicted_iou: float = 0.5
    """What the model itself thinks of the mask, at least."""
    least_likeness: float = 0.8
    """Cosine of what the encoder sees inside the mask, on average, to that at the start: -1 to 1, at least."""
    most_growth: float = 3.0
    """The mask's area changes by no larger factor from answer to answer."""
    least_cells: int = 4
    """A mask of fewer cells of the logits is none: the object has left, or is too small."""
    patience: int = 4
    """So many answers in a row that do not count lose the object."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("margin", 0, 1),
            ("least_predicted_iou", 0, 1),
            ("least_likeness", -1, 1),
            ("most_growth", 1, 1e6),
            ("least_cells", 1, 10**6),
            ("patience", 1, 10**6),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"follow's {name} is {getattr(self, name)}", hint=f"give {low:g} to {high:g}")


@dataclass(frozen=True, eq=False)
class Followed:
    """An object that is followed."""

    object_id: int
    masks: Masks
    """k = 1, on the frame of the last step."""
    looks: NDArray[np.float32]
    """(channels,) what the encoder saw inside the mask, on average, when following began."""
    status: FollowStatus = "followed"
    reason: Reason = ""
    """Why the last answer did not count."""
    failures: int = 0
    """Answers in a row that did not count."""
    likeness: float = 1.0
    """Of the last answer."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """What to decode next for an object."""

    prompt: Prompt
    """On the new frame."""
    carried: Masks = field(repr=False)
    """The mask (k = 1), carried to the new frame."""


def begin(object_id: int, masks: Masks, embedding: Embedding) -> Followed:
    """Follow an object from its mask (k = 1) on the embedding that it was decoded from.

    Raises:
        InputError: the mask is empty.
    """
    if not (masks.logits[0] > THRESHOLD).any():
        raise InputError("an empty mask cannot be followed")
    return Followed(object_id, masks, _looks(masks, embedding))


def attempt(
    followed: Followed,
    motion: Motion,
    *,
    takes_masks: bool,
    view: View | None = None,
    config: FollowConfig = FollowConfig(),
) -> Attempt | None:
    """The prompt that finds an object on the next frame; None: it has left the view.

    Args:
        followed: not lost.
        motion: of the object from the frame of its mask to the next one, see `object_motion`; the camera's for
            what stands still.
        takes_masks: whether the model takes mask prompts (`Segmenter.takes_masks`).
        view: of the embedding that will be decoded; None: that of the mask. In a window that does not show the
            object it counts as left.
        config: margins.
    """
    carried = carry_masks(followed.masks, motion)
    view = view or carried.view
    carried = in_view(carried, view)
    plane = carried.logits[0] > THRESHOLD
    if np.count_nonzero(plane) < config.least_cells:
        return None
    # Cells are square pieces of the encoder's input.
    cell = view.input_wh[0] / plane.shape[1]
    left, top, wide, tall = cv2.boundingRect(plane.astype(np.uint8))
    across, down = config.margin * wide, config.margin * tall
    corners = view.to_frame(
        cell * np.array([(left - across, top - down), (left + wide + across, top + tall + down)])
    )
    x, y, width, height = view.window_xywh
    low, high = np.array((x, y)), np.array((x + width, y + height))
    box = np.clip(corners, low, high)
    if not (box[1] - box[0] >= 1).all():
        return None
    # The innermost point: the middle of a ring or a banana is not on it.
    middle = np.clip(view.to_frame(cell * (_innermost(plane) + 0.5)), low, high)
    logits = np.clip(carried.logits[0], -MOST_LOGIT, MOST_LOGIT) if takes_masks else None
    return Attempt(Prompt.points([middle], box=box.ravel(), mask_logits=logits), carried)


def judge(
    followed: Followed,
    tried: Attempt | None,
    answer: Masks | None,
    embedding: Embedding,
    config: FollowConfig = FollowConfig(),
) -> Followed:
    """Whether an answer is still the object.

    Args:
        followed: before.
        tried: what `attempt` gave; None: the object has left.
        answer: the masks of its prompt (k = 1 or 3); None if there is none.
        embedding: that was decoded.
        config: what counts.
    """
    if tried is None or answer is None:
        return replace(followed, status="lost", reason="left", failures=followed.failures + 1)
    masks = answer[choose(answer, tried.carried).index]
    cells, before = (int(np.count_nonzero(one.logits[0] > THRESHOLD)) for one in (masks, tried.carried))
    likeness = _cosine(_looks(masks, embedding), followed.looks) if cells else -1.0
    reason: Reason = ""
    if cells < config.least_cells:
        reason = "left"
    elif not masks.predicted_iou[0] >= config.least_predicted_iou:
        reason = "doubtful"
    elif not likeness >= config.least_likeness:
        reason = "unlike"
    elif max(cells, before) > config.most_growth * min(cells, before):
        reason = "size"
    if not reason:
        return replace(followed, masks=masks, status="followed", reason="", failures=0, likeness=likeness)
    failures = followed.failures + 1
    status: FollowStatus = "lost" if failures >= config.patience else "unsure"
    return replace(
        followed, masks=tried.carried, status=status, reason=reason, failures=failures, likeness=likeness
    )


def _looks(masks: Masks, embedding: Embedding) -> NDArray[np.float32]:
    """(channels,): the encoder's means inside a mask (k = 1) of the same view, of each level that it gives.

    Each level has length 1, so that the cosine of two such is the mean of the levels' cosines.
    """
    inside = (masks.logits[0] > THRESHOLD).astype(np.float32)
    input_wh = embedding.view.input_wh
    parts = []
    for name in sorted(embedding.tensors):
        shape = embedding.tensors[name].shape
        # What lies as the image does; SAM's tokens have another order.
        if len(shape) != 4 or shape[2] * input_wh[0] != shape[3] * input_wh[1]:
            continue
        weights = cv2.resize(inside, (shape[3], shape[2]), interpolation=cv2.INTER_AREA)
        rows, columns = (slice(found.min(), found.max() + 1) for found in np.nonzero(weights))
        features = np.asarray(embedding.tensors[name])[0, :, rows, columns]
        mean = np.tensordot(features, weights[rows, columns], axes=([1, 2], [0, 1]))
        parts.append(mean / max(float(np.linalg.norm(mean)), 1e-9))
    # An encoder that gives nothing of that kind cannot tell: everything looks the same.
    return np.concatenate(parts or [np.ones(1)]).astype(np.float32)


def _innermost(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """x, y of the cell of a mask that is farthest from its edge."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return np.array((column, row), np.float64)


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 0 else 0.0
