"""Real videos: one labelled object each, a camera that is held or drives along; objects move too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.quality.labelled import Labelled, open_dataset
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.progress import Progress
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.motion.chain import MotionChain
from sam_edge.streaming.motion.flow import small_frame
from sam_edge.synthetic.gaze.clicks import centre_click

from .methods import WINDOWS, Mask, compensated, followed, iou, moved, refocused, uncompensated
from .records import Look

WIDTH_DEG = 60.0
"""What the cameras are taken to see across the frame; nobody wrote it down."""
SPEEDS_DEG_S = (0.0, 15.0, 30.0)
"""Edges of the groups of speeds."""
AGES = (0, 1, 2, 3, 4, 6, 8, 10, 12)
"""In frames, of 24 a second."""
CLUSTER_S = 0.5
"""Looks within so much of a video are taken to be one cluster."""


@dataclass(frozen=True, eq=False)
class Video:
    """A sequence, encoded, and its motion measured. Frame i was taken i / fps seconds after the first."""

    name: str
    fps: float
    images: tuple[NDArray[np.uint8], ...]
    truths: tuple[Mask, ...]
    embeddings: tuple[Embedding, ...]
    chain: MotionChain

    def time_ns(self, index: int) -> int:
        """When a frame was taken."""
        return round(index * 1e9 / self.fps)


def frame_rates(folder: Path) -> dict[str, float]:
    """Frames per second of the videos that have all their frames, by name.

    Raises:
        InputError: `folder` has no `sequences.json` that says so, or no such video.
    """
    listed = folder / "sequences.json"
    try:
        about = json.loads(listed.read_bytes())
        rates = {str(name): float(one["fps"]) for name, one in about.items() if one["step"] == 1}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{listed} cannot be read: {error}", path=listed) from error
    if not rates:
        raise InputError(f"{listed} names no video with every frame", path=listed)
    return rates


def look_at_videos(
    segmenter: Segmenter, costs: Mapping[str, float], folder: Path, step: int, progress: Progress
) -> list[Look]:
    """Every `step`th frame of the videos that have all their frames, at every age.

    Raises:
        InputError: as `frame_rates`, or a video has no labels.
    """
    looks: list[Look] = []
    rates = frame_rates(folder)
    for number, (name, fps) in enumerate(rates.items()):
        progress("videos", number / len(rates))
        frames = list(open_dataset(f"{folder}:{name}", min_area_px=1))
        looks += _looks(segmenter, _see(segmenter, name, fps, frames), costs, step)
    return looks


def _see(segmenter: Segmenter, name: str, fps: float, frames: list[Labelled]) -> Video:
    chain = MotionChain(length=len(frames))
    for index, frame in enumerate(frames):
        chain = chain.extended(small_frame(frame.image, round(index * 1e9 / fps)))
    empty = np.zeros(frames[0].image.shape[:2], np.bool_)
    return Video(
        name,
        fps,
        tuple(frame.image for frame in frames),
        tuple(frame.masks.get(1, empty) for frame in frames),
        tuple(segmenter.encode(frame.image) for frame in frames),
        chain,
    )


def _looks(segmenter: Segmenter, video: Video, costs: Mapping[str, float], step: int) -> Iterator[Look]:
    for now in range(1, len(video.images) - 1, step):
        if not video.truths[now].any():
            continue
        for age in AGES:
            if age <= now:
                yield _look(segmenter, video, now, age, costs)


def _look(segmenter: Segmenter, video: Video, now: int, age: int, costs: Mapping[str, float]) -> Look:
    truth = video.truths[now]
    gaze_px = centre_click(truth)
    old = video.embeddings[now - age]
    motion = video.chain.between(video.time_ns(now - age), video.time_ns(now))
    earlier, image = video.truths[now - age], video.images[now - age]
    rng = np.random.default_rng([now, age])
    follow = followed(motion, earlier, truth, gaze_px, truth.shape[1] / WIDTH_DEG, rng)
    scores = {
        "none": iou(uncompensated(segmenter, old, gaze_px), truth),
        "carried": iou(compensated(segmenter, old, gaze_px, motion), truth),
        "followed": iou(compensated(segmenter, old, gaze_px, follow), truth),
        "truth_carried": iou(moved(earlier, motion), truth),
    }
    for name, window in WINDOWS.items():
        scores |= {name: math.nan, f"{name}_carried": math.nan}
        if age == 0:
            fresh = refocused(segmenter, image, gaze_px, window)
            # There is no frame of the moment it is done: between this one and the next.
            late = min(costs[name] / 1e3 * video.fps, 1.0)
            at_once, next_frame = (iou(fresh, video.truths[now + later]) for later in (0, 1))
            scores[name] = (1 - late) * at_once + late * next_frame
        if age == 1:
            scores[f"{name}_carried"] = iou(refocused(segmenter, image, gaze_px, window, follow), truth)
    return Look(
        "real video",
        f"{video.name} {int(now / video.fps / CLUSTER_S)}",
        _speed(video, now, max(age, 1)),
        1e3 * age / video.fps,
        True,
        bool(earlier.any()),
        scores,
        motion.is_known,
        motion.residual_px,
    )


def _speed(video: Video, now: int, age: int) -> str:
    """Which group of speeds the background's motion over the last `age` frames belongs to."""
    height, width = video.truths[now].shape
    middle = (width / 2, height / 2)
    motion = video.chain.between(video.time_ns(now - age), video.time_ns(now))
    moved_deg = math.dist(motion.carry_point(*middle), middle) * WIDTH_DEG / width
    group = int(np.searchsorted(SPEEDS_DEG_S, moved_deg * video.fps / age, "right")) - 1
    low, high = (*SPEEDS_DEG_S, math.inf)[group : group + 2]
    return f"{low:g} to {high:g}" if high < math.inf else f"{low:g} and more"
