"""Frames and results made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam_edge.geometry import View
from sam_edge.masks import Masks
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.result import FrameResult, Freshness, Result, Status
from sam_edge.streaming.sources.source import Frame

WH = (128, 64)
FRAME_NS = 40_000_000


def frame(index: int, wh: tuple[int, int] = WH, grey: int = 90) -> Frame:
    """A grey frame, 25 of them a second."""
    return Frame(np.full((wh[1], wh[0], 3), grey, np.uint8), index, index * FRAME_NS)


def masks(wh: tuple[int, int] = WH) -> Masks:
    """A mask that covers the left half of a frame, but for a border of 8 pixels."""
    logits = np.full((1, wh[1], wh[0]), -4, np.float32)
    logits[0, 8:-8, 8 : wh[0] // 2] = 4
    return Masks(logits, np.array([0.75], np.float32), View(wh, (0, 0, *wh), wh, wh))


def result(
    t_ns: int,
    status: Status = "mask",
    freshness: Freshness | None = "fresh",
    object_id: int | None = None,
    wh: tuple[int, int] = WH,
) -> Result:
    """An answer to a gaze at the quarter of a frame; the ages tell it from others."""
    seen = masks(wh) if status == "mask" else None
    gaze = None if object_id is not None else GazeSample(t_ns, 0.25, 0.5, 0.9, "host", 7, t_ns + 3)
    return Result(
        t_ns, wh[0] / 4, wh[1] / 2, status, seen, freshness if seen else None, gaze, object_id,
        gaze_age_ms=4.0, frame_age_ms=12.0, embedding_age_ms=31.0, stages_ms={"decode": 3.5},
    )  # fmt: skip


def part(index: int, results: Sequence[Result] = (), *, last: bool = True) -> FrameResult:
    """A part of a frame."""
    return FrameResult(frame(index), 20.0, tuple(results), last)
