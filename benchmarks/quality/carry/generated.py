"""Generated scenes: the head turns steadily at a given speed, and everything is known exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sam_edge.embedding import Embedding
from sam_edge.progress import Progress
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.motion.chain import MotionChain
from sam_edge.streaming.motion.flow import small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.synthetic.gaze.clicks import centre_click
from sam_edge.synthetic.render import draw_labels
from sam_edge.synthetic.scene import Scene, SceneFrame

from .methods import WINDOWS, compensated, followed, iou, moved, refocused, uncompensated
from .records import Look

FRAME_WH = (640, 360)
FPS = 30.0
FOV_DEG = 75.0
AGES = (0, 1, 2, 3, 4, 6, 8, 10, 12, 15)
"""In frames: 0 to 500 ms."""
MAX_TURN_DEG = 60.0
"""A scene turns no further: by then the earlier frame shows little of what the newest does."""
MIN_AREA_PX = 400
PAIRS = 2
"""Newest frames that each age is tried on in a scene."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A scene, rendered, encoded, and its motion measured."""

    scene: Scene
    frames: tuple[SceneFrame, ...]
    embeddings: tuple[Embedding, ...]
    chain: MotionChain


def look_at_scenes(
    segmenter: Segmenter,
    costs: Mapping[str, float],
    seeds: int,
    speeds: Sequence[float],
    progress: Progress,
) -> list[Look]:
    """Every object of every scene at every age; at age 0 also by windows, which are as old as they take."""
    looks: list[Look] = []
    total = seeds * len(speeds)
    for number in range(total):
        seed, speed = number // len(speeds), speeds[number % len(speeds)]
        progress("generated scenes", number / total)
        seen = _see(segmenter, seed, speed)
        for age in AGES:
            looks += _at_age(segmenter, seen, age, costs)
    return looks


def _see(segmenter: Segmenter, seed: int, speed: float) -> Seen:
    count = AGES[-1] + 1
    if speed:
        count = min(count, int(MAX_TURN_DEG / speed * FPS))
    # To the right in one scene, to the left in the next.
    pan = speed if seed % 2 else -speed
    scene = Scene(
        seed, *FRAME_WH, fps=FPS, duration_s=count / FPS, fov_deg=FOV_DEG, object_count=9, pan_deg_s=pan
    )
    frames = tuple(scene.frames())
    chain = MotionChain()
    for frame in frames:
        chain = chain.extended(small_frame(frame.image, frame.capture_ns))
    return Seen(scene, frames, tuple(segmenter.encode(frame.image) for frame in frames), chain)


def _at_age(segmenter: Segmenter, seen: Seen, age: int, costs: Mapping[str, float]) -> Iterator[Look]:
    newest = range(age, len(seen.frames))
    for now in sorted({newest[k * len(newest) // PAIRS] for k in range(PAIRS)} if newest else ()):
        frame, before = seen.frames[now], seen.frames[now - age]
        motion = seen.chain.between(before.capture_ns, frame.capture_ns)
        exact = Motion(np.linalg.inv(frame.to_first) @ before.to_first)
        areas = np.bincount(frame.labels.ravel(), minlength=256)
        for label in np.flatnonzero(areas >= MIN_AREA_PX):
            if label:
                yield _look(segmenter, seen, (now, age, int(label)), (motion, exact), costs)


def _look(
    segmenter: Segmenter,
    seen: Seen,
    which: tuple[int, int, int],
    motions: tuple[Motion, Motion],
    costs: Mapping[str, float],
) -> Look:
    now, age, label = which
    motion, exact = motions
    frame, old = seen.frames[now], seen.embeddings[now - age]
    truth = frame.labels == label
    gaze_px = centre_click(truth)
    image, earlier = seen.frames[now - age].image, seen.frames[now - age].labels == label
    rng = np.random.default_rng([seen.scene.seed, now, age, label])
    follow = followed(motion, earlier, truth, gaze_px, seen.scene.px_per_degree, rng)
    scores = {
        "none": iou(uncompensated(segmenter, old, gaze_px), truth),
        "truth_carried": iou(moved(earlier, motion), truth),
    }
    scores["carried"] = scores["followed"] = iou(compensated(segmenter, old, gaze_px, motion), truth)
    if follow is not motion:
        scores["followed"] = iou(compensated(segmenter, old, gaze_px, follow), truth)
    for name, window in WINDOWS.items():
        scores |= {name: math.nan, f"{name}_carried": math.nan}
        if age == 0:
            shown_s = now / FPS + costs[name] / 1e3
            then = draw_labels(seen.scene.world, shown_s, FRAME_WH) == label
            scores[name] = iou(refocused(segmenter, image, gaze_px, window), then)
        if age == 1:
            scores[f"{name}_carried"] = iou(refocused(segmenter, image, gaze_px, window, follow), truth)
    source = exact.inverse().carry_point(*gaze_px)
    return Look(
        "generated scenes",
        f"scene {seen.scene.seed}",
        f"{abs(seen.scene.pan_deg_s or 0):g}",
        1e3 * age / FPS,
        any(item.path.moves for item in seen.scene.world.items if item.label == label),
        0 <= source[0] <= FRAME_WH[0] and 0 <= source[1] <= FRAME_WH[1],
        scores,
        motion.is_known,
        motion.residual_px,
        math.dist(motion.carry_point(*source), gaze_px),
    )
