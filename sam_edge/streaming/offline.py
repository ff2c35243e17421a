"""The main loop on recorded material: each gaze sample gets the mask of what it looks at on the newest frame.

    frame ─▶ encoder ─▶ Embedding ─┐
    gaze  ─▶ Prompt ───────────────┴─▶ decoder ─▶ Masks ─▶ Result

Nothing is dropped: every sample is answered, however long it takes. A frame that no sample needs is not
encoded, and a sample that looks at the point decoded just before on the same frame gets that mask. Ages are in
the time of the recording, durations are measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import perf_counter_ns

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.result import FrameResult, Result, Status
from sam_edge.streaming.sources.source import Frame

MAX_RESULTS = 16
"""Masks of large frames are large: only so many are kept at a time, however long a frame stands."""
DEFAULT_INTERVAL_NS = 33_333_333
"""How long the only frame of a source is looked at."""
REUSE_DISTANCE = 0.004
"""So near, samples of one frame share a mask, as a share of the frame's longer side: a cell of SAM's masks (4
of 1024 pixels), and about the noise of an eye tracker (0.4 degrees of the 103 that Neon's camera sees)."""


def run_offline(
    segmenter: Segmenter,
    frames: Iterable[Frame],
    gaze: Iterable[GazeSample],
    *,
    min_confidence: float = 0.6,
    reuse_distance: float = REUSE_DISTANCE,
) -> Iterator[FrameResult]:
    """Join frames and gaze by time; samples before the first frame are left out.

    Args:
        segmenter: the model.
        frames: in the order of time.
        gaze: in the order of time, on the frames' clock.
        min_confidence: samples below it count as closed eyes, 0 to 1.
        reuse_distance: a sample not farther than this from the one decoded last on the same frame gets its
            mask, as a share of the frame's longer side, 0 to 1; with 0 only the very same point does.

    Raises:
        InputError: a number is out of its range.
    """
    for name, value in (("min_confidence", min_confidence), ("reuse_distance", reuse_distance)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}", hint="give 0 to 1")
    samples = iter(gaze)
    sample = next(samples, None)
    for frame, end_ns in _with_ends(frames):
        answer = _FrameAnswers(segmenter, frame, min_confidence, reuse_distance)
        results: list[Result] = []
        while sample is not None and sample.t_ns < end_ns:
            if len(results) == MAX_RESULTS:
                yield FrameResult(frame, answer.encode_ms, tuple(results), last=False)
                results = []
            if sample.t_ns >= frame.capture_ns:
                results.append(answer(sample))
            sample = next(samples, None)
        yield FrameResult(frame, answer.encode_ms, tuple(results), last=True)


class _FrameAnswers:
    """Answers the samples of one frame, which it encodes when the first mask is asked for."""

    def __init__(
        self, segmenter: Segmenter, frame: Frame, min_confidence: float, reuse_distance: float
    ) -> None:
        self.encode_ms: float | None = None
        self._segmenter = segmenter
        self._frame = frame
        self._wh = (frame.image.shape[1], frame.image.shape[0])
        self._min_confidence = min_confidence
        self._reuse_px = reuse_distance * max(self._wh)
        self._embedding: Embedding | None = None
        self._decoded: Result | None = None

    def __call__(self, sample: GazeSample) -> Result:
        x_px, y_px = sample.to_px(self._wh)
        age_ms = (sample.t_ns - self._frame.capture_ns) / 1e6
        status = _status(sample, self._min_confidence)
        if status != "mask":
            return Result(sample.t_ns, x_px, y_px, status, gaze=sample, frame_age_ms=age_ms)
        near = self._decoded
        if near is not None and math.hypot(x_px - near.x_px, y_px - near.y_px) <= self._reuse_px:
            return replace(
                near, t_ns=sample.t_ns, x_px=x_px, y_px=y_px, gaze=sample,
                frame_age_ms=age_ms, embedding_age_ms=age_ms, stages_ms={}, reused=True,
            )  # fmt: skip
        embedding = self._encoded()
        start = perf_counter_ns()
        decoded = self._segmenter.decode(embedding, Prompt.points([(x_px, y_px)]))
        masks = decoded.best()
        # A mask is of use at the frame's size: making it is part of the answer's time.
        _ = masks.binary
        self._decoded = Result(
            sample.t_ns, x_px, y_px, status, masks, "fresh", sample,
            frame_age_ms=age_ms, embedding_age_ms=age_ms, stages_ms={"decode": _since_ms(start)},
            decoded=decoded,
        )  # fmt: skip
        return self._decoded

    def _encoded(self) -> Embedding:
        if self._embedding is None:
            start = perf_counter_ns()
            self._embedding = self._segmenter.encode(self._frame.image, capture_ns=self._frame.capture_ns)
            self.encode_ms = _since_ms(start)
        return self._embedding


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
