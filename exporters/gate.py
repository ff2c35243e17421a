"""The gate: does an engine compute what the model computes? Measured through the user's own path.

Pictures and many prompts go through `Segmenter`, preprocessing and slots included, and everything that comes
back is compared: the embedding, the logits, the predicted IoU, the masks, and where the masks lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import FidelityError
from sam_edge.manifest import Engine, Precision
from sam_edge.masks import THRESHOLD
from sam_edge.prompt import Prompt
from sam_edge.segmenter import MASK_STRIDE, Embedding, Segmenter

Steps = Callable[[], None]
"""Called after every picture."""


@dataclass(frozen=True)
class Limits:
    """What an engine must keep.

    The mean of the masks' IoU is judged, not its worst: the mask of a few pixels, which every model gives
    now and then, loses a tenth of its IoU with one pixel. A wrong engine moves the mean. What moves it
    little, masks that are shifted as a whole by part of a pixel, is judged by itself.
    """

    mask_iou_mean: float
    """At least."""
    embedding_cosine: float
    """At least, on the worst picture."""
    embedding_rms: float
    """At most, as a share of the reference's."""
    logits_rms: float
    """At most, as a share of the reference's."""
    iou_error: float
    """At most: mean difference of predicted IoU."""
    shift_px: float
    """At most: how far all masks together are shifted, in pixels of the encoder's input."""
    frame_rms: float = 2e-2
    """At most: what it changes in the embedding, as a share of it, that the engine prepares frames itself. It
    may be a grey level off; with channels swapped or another normalisation it is tens of per cent."""


LIMITS: Mapping[Precision, Limits] = {
    "fp32": Limits(0.999, 0.99999, 1e-3, 5e-3, 2e-3, 0.02),
    "fp16": Limits(0.995, 0.999, 5e-2, 5e-2, 1e-2, 0.1),
}


@dataclass(frozen=True, eq=False)
class Answer:
    """What the reference says to one prompt."""

    prompt: Prompt
    multimask: bool | None
    """As `Segmenter.decode` takes it."""
    logits: NDArray[np.float32]
    """(k, h, w), k = 1 or 3."""
    iou: NDArray[np.float32]
    """(k,)"""


@dataclass(frozen=True, eq=False)
class Expected:
    """What the reference says about one picture (H, W, 3)."""

    image: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    """(c, h, w)"""
    answers: Sequence[Answer]
    logits_stride: int = 1
    """Answers hold only every so many-th row and column of the logits."""
    embedding_stride: int = 1
    """The embedding holds only every so many-th value, of all in one row."""


def questions(
    size_wh: tuple[int, int], mask_logits: NDArray[np.float32] | None, max_points: int
) -> list[tuple[Prompt, bool | None]]:
    """Prompts of every kind, all over a picture of that size, with the number of masks that is asked for.

    Args:
        mask_logits: (h, w), the model's own answer to another prompt; None if it takes no masks.
        max_points: how many points the model takes beside a box.
    """
    width, height = size_wh
    generator = np.random.default_rng(1)
    grid = [(x * width, y * height) for y in (0.25, 0.5, 0.8) for x in (0.2, 0.5, 0.85)]
    points = generator.random((max_points, 2)) * size_wh
    labels = np.arange(max_points) % 3 != 2
    boxes = [
        np.array(box) * (width, height, width, height)
        for box in ((0.2, 0.3, 0.7, 0.8), (0.05, 0.05, 0.4, 0.5), (0.5, 0.1, 0.95, 0.9))
    ]
    return [
        *((Prompt.points([point]), None) for point in grid),
        (Prompt.points([grid[4]]), False),
        *((Prompt.box(box), None) for box in boxes),
        (Prompt.box(boxes[0]), False),
        (Prompt.points(grid[3:6][:max_points], [1, 0, 1][:max_points]), None),
        (Prompt.points(grid[3:6][:max_points], [0, 1, 0][:max_points]), True),
        (Prompt.points(points, labels, box=boxes[0]), None),
        *(
            (Prompt.points([point], mask_logits=mask_logits), multimask)
            for point, multimask in ((grid[0], None), (grid[4], False))
            if mask_logits is not None
        ),
    ]


def first_question(size_wh: tuple[int, int]) -> Prompt:
    """The prompt whose answer is the mask that later prompts bring along."""
    return Prompt.points([(0.4 * size_wh[0], 0.4 * size_wh[1])])


def ask(
    segmenter: Segmenter, images: Iterable[NDArray[np.uint8]], each: Steps = lambda: None
) -> list[Expected]:
    """What an engine that is trusted says about pictures."""
    return [_ask(segmenter, image, each) for image in images]


def measure(
    segmenter: Segmenter,
    expected: Sequence[Expected],
    each: Steps = lambda: None,
    frames_rms: Sequence[float] = (),
) -> dict[str, float]:
    """How far an engine is from what is expected: the numbers that `Limits` judges, and some more.

    Args:
        frames_rms: filled while the segmenter runs, see `Frames`; stays empty if the engine prepares no frames.
    """
    found = _Found()
    for reference in expected:
        embedding = segmenter.encode(reference.image)
        found.embedding(
            _embedding(embedding).ravel()[:: reference.embedding_stride], reference.embedding.ravel()
        )
        stride = reference.logits_stride
        for answer in reference.answers:
            masks = segmenter.decode(embedding, answer.prompt, multimask=answer.multimask)
            found.answer(masks.logits[:, ::stride, ::stride], masks.iou, answer, stride)
        each()
    frame_rms = float(np.max(frames_rms)) if frames_rms else 0.0
    return found.numbers() | {"frame_rms": frame_rms, "pictures": float(len(expected))}


def judge(found: Mapping[str, float], precision: Precision, limits: Limits | None = None) -> list[str]:
    """What is beyond its limit (None: that of the precision), in words; nothing if the engine passes."""
    limits = limits or LIMITS[precision]
    beyond = []
    for name, limit in vars(limits).items():
        # `not` so that NaN fails as well.
        least = name in ("mask_iou_mean", "embedding_cosine")
        if not (found[name] >= limit if least else found[name] <= limit):
            beyond.append(f"{name} {found[name]:.4g} {'<' if least else '>'} {limit:g}")
    return beyond


def check(found: Mapping[str, float], engine: Engine) -> None:
    """Raise FidelityError if the engine does not pass."""
    if beyond := judge(found, engine.precision):
        raise FidelityError(f"{engine} differs from the model: {', '.join(beyond)}; nothing was written")


def result(
    found: Mapping[str, float],
    precision: Precision,
    *,
    against_onnx: bool,
    limits: Limits | None = None,
) -> dict[str, float]:
    """The numbers as the manifest keeps them, with the judgement by those limits."""
    kept = {name: value for name, value in found.items() if np.isfinite(value)}
    return kept | {
        "against_onnx": float(against_onnx),
        "passed": float(not judge(found, precision, limits)),
    }


class _Found:
    """Differences, gathered over pictures and prompts."""

    def __init__(self) -> None:
        self._cosines: list[float] = []
        self._most: dict[str, list[float]] = {}
        self._mask_ious: list[float] = []
        self._iou_errors: list[float] = []
        self._shift = np.zeros((2, 3))

    def embedding(self, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
        self._note("embedding", ours, theirs)
        mine, other = ours.astype(np.float64), theirs.astype(np.float64)
        norm = float(np.linalg.norm(mine) * np.linalg.norm(other))
        self._cosines.append(float(mine @ other) / norm if norm else float("nan"))

    def answer(
        self, logits: NDArray[np.float32], iou: NDArray[np.float32], expected: Answer, stride: int
    ) -> None:
        self._note("logits", logits, expected.logits)
        self._iou_errors += np.abs(iou - expected.iou).tolist()
        ours, theirs = logits > THRESHOLD, expected.logits > THRESHOLD
        union = (ours | theirs).sum((1, 2))
        shared = (ours & theirs).sum((1, 2))
        self._mask_ious += np.where(union == 0, 1.0, shared / np.maximum(union, 1)).tolist()
        # Least squares: the one shift (x, y) that explains most of the difference, to first order.
        down, right = np.gradient(expected.logits.astype(np.float64), stride, axis=(1, 2))
        slopes = np.stack([right.ravel(), down.ravel()])
        # Infinities become NaN, which fails.
        with np.errstate(invalid="ignore", over="ignore"):
            off = (expected.logits - logits).astype(np.float64).ravel()
            self._shift += np.concatenate([slopes @ slopes.T, (slopes @ off)[:, None]], axis=1)

    def numbers(self) -> dict[str, float]:
        ious, errors = np.array(self._mask_ious), np.array(self._iou_errors)
        return {
            # min, max, mean and the largest of numpy keep NaN.
            "embedding_cosine": float(np.min(self._cosines)),
            **{name: float(np.max(values)) for name, values in self._most.items()},
            "iou_max": float(errors.max()),
            "iou_error": float(errors.mean()),
            "mask_iou_mean": float(ious.mean()),
            "mask_iou_p1": float(np.quantile(ious, 0.01)),
            "shift_px": self._shift_px(),
            "masks": float(len(ious)),
        }

    def _shift_px(self) -> float:
        if not np.isfinite(self._shift).all():
            return float("nan")
        # A picture without slopes says nothing about shifts: the least-norm answer is no shift.
        shift = np.linalg.lstsq(self._shift[:, :2], self._shift[:, 2], rcond=None)[0]
        return float(np.linalg.norm(shift)) * MASK_STRIDE

    def _note(self, name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
        """The largest difference, and the RMS relative to the reference's."""
        with np.errstate(over="ignore", invalid="ignore"):
            difference = (ours - theirs).astype(np.float64)
            size = float(np.sqrt(np.mean(np.square(theirs, dtype=np.float64))))
            rms = float(np.sqrt(np.mean(np.square(difference)))) / max(size, 1e-12)
        self._most.setdefault(f"{name}_max", []).append(float(np.abs(difference).max()))
        self._most.setdefault(f"{name}_rms", []).append(rms)


def _ask(segmenter: Segmenter, image: NDArray[np.uint8], each: Steps) -> Expected:
    size_wh = (image.shape[1], image.shape[0])
    embedding = segmenter.encode(image)
    first = segmenter.decode(embedding, first_question(size_wh), multimask=False)
    earlier = first.logits[0] if segmenter.takes_masks else None
    answers = []
    for prompt, multimask in questions(size_wh, earlier, segmenter.max_points):
        masks = segmenter.decode(embedding, prompt, multimask=multimask)
        answers.append(Answer(prompt, multimask, masks.logits, masks.iou))
    each()
    return Expected(image, _embedding(embedding), answers)


def _embedding(embedding: Embedding) -> NDArray[np.float32]:
    picture: NDArray[np.float32] = np.asarray(embedding.tensors["embedding"])[0]
    return picture
