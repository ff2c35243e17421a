"""The main loop on recorded material: every frame is encoded, every gaze sample decoded on the newest frame.

    frame ─▶ encoder ─▶ Embedding ─┐
    gaze  ─▶ Prompt ───────────────┴─▶ decoder ─▶ Masks ─▶ Look

Files do not drop: each frame is encoded and each sample answered, however long it takes. Ages are in the time
of the recording, durations are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Literal

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze import GazeSample
from sam_edge.streaming.sources.source import Frame

MAX_RESULTS = 16
"""Masks of large frames are large: only so many are kept at a time, however long a frame stands."""
DEFAULT_INTERVAL_NS = 33_333_333
"""How long the only frame of a source is looked at."""

Status = Literal["mask", "no_gaze", "outside"]
"""`mask`: the sample was answered. `no_gaze`: a blink or lost eye. `outside`: it looks past the image."""


@dataclass(frozen=True, eq=False)
class GazeResult:
    """One gaze sample and what it looks at."""

    gaze: GazeSample
    x_px: float
    y_px: float
    status: Status
    frame_age_ms: float
    """How much older than the gaze sample the frame under the mask is."""
    decode_ms: float
    """From the sample to its mask at the frame's size; 0 without a mask."""
    masks: Masks | None
    """The most confident mask (k = 1), where there is one."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame and what was looked at on it. A frame that stands long comes in several steps."""

    frame: Frame
    encode_ms: float
    results: tuple[GazeResult, ...]
    """At most MAX_RESULTS, in the order of time."""
    last: bool
    """Whether this is the frame's last step."""


def run_offline(
    segmenter: Segmenter,
    frames: Iterable[Frame],
    gaze: Iterable[GazeSample],
    *,
    min_confidence: float = 0.6,
) -> Iterator[FrameResult]:
    """Join frames and gaze by time; samples before the first frame are left out.

    Args:
        segmenter: the model.
        frames: in the order of time.
        gaze: in the order of time, on the frames' clock.
        min_confidence: samples below it count as closed eyes, 0 to 1.

    Raises:
        InputError: there is no such confidence.
    """
    if not 0 <= min_confidence <= 1:
        raise InputError(f"the least confidence is {min_confidence}", hint="give 0 to 1")
    samples = iter(gaze)
    sample = next(samples, None)
    for frame, end_ns in _with_ends(frames):
        start = perf_counter_ns()
        embedding = segmenter.encode(frame.image, capture_ns=frame.capture_ns)
        encode_ms = _since_ms(start)
        results: list[GazeResult] = []
        while sample is not None and sample.t_ns < end_ns:
            if len(results) == MAX_RESULTS:
                yield FrameResult(frame, encode_ms, tuple(results), last=False)
                results = []
            if sample.t_ns >= frame.capture_ns:
                results.append(_answer(segmenter, embedding, sample, min_confidence))
            sample = next(samples, None)
        yield FrameResult(frame, encode_ms, tuple(results), last=True)


def _answer(
    segmenter: Segmenter, embedding: Embedding, sample: GazeSample, min_confidence: float
) -> GazeResult:
    x_px, y_px = sample.to_px(embedding.view.frame_wh)
    status = _status(sample, min_confidence)
    masks, decode_ms = None, 0.0
    if status == "mask":
        start = perf_counter_ns()
        masks = segmenter.decode(embedding, Prompt.points([(x_px, y_px)])).best()
        # A mask is of use at the frame's size: making it is part of the answer's time.
        _ = masks.binary
        decode_ms = _since_ms(start)
    age_ms = (sample.t_ns - embedding.capture_ns) / 1e6
    return GazeResult(sample, x_px, y_px, status, age_ms, decode_ms, masks)


def _status(sample: GazeSample, min_confidence: float) -> Status:
    if sample.confidence < min_confidence:
        return "no_gaze"
    return "mask" if 0 <= sample.x_norm <= 1 and 0 <= sample.y_norm <= 1 else "outside"


def _with_ends(frames: Iterable[Frame]) -> Iterator[tuple[Frame, int]]:
    """Each frame with the time of the next, until which it is the newest.

    The last one is given as long as the one before it.
    """
    previous: Frame | None = None
    interval_ns = DEFAULT_INTERVAL_NS
    for frame in frames:
        if previous is not None:
            interval_ns = frame.capture_ns - previous.capture_ns
            yield previous, frame.capture_ns
        previous = frame
    if previous is not None:
        yield previous, previous.capture_ns + interval_ns


def _since_ms(start_ns: int) -> float:
    return (perf_counter_ns() - start_ns) / 1e6
