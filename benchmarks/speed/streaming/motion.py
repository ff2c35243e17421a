"""Milliseconds that camera motion takes for each 1280 x 720 frame, and carrying for each mask, on one thread.

python -m sam_edge.benchmarks.speed.streaming.motion [--size WxH] [--rounds N] [--seeds N] [--json]

And how exact it is: generated scenes know the true motion of their background.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.cli.options import parse_size
from sam_edge.geometry import InputSize
from sam_edge.masks import Masks
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.chain import MotionChain
from sam_edge.streaming.motion.flow import SmallFrame, motion_between, small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.synthetic.scene import Scene, SceneFrame

FRAMES = 16
"""Of each scene: half a second, in which the head turns."""
FIRST = 40
INPUTS = {"nano": InputSize(512, 32, square=False), "SAM": InputSize(1024, 64, square=True)}


def measure(frame_wh: tuple[int, int], rounds: int, seeds: int) -> dict[str, Any]:
    """Times and errors.

    Returns:
        `ms`: stage -> `p50` and `p99`; `error_px`: from frame to frame and over half a second, the `median` and
        `p95` of the frame's median error.
    """
    scenes = [_frames(seed, frame_wh) for seed in range(1, seeds + 1)]
    small = [[small_frame(frame.image, frame.capture_ns) for frame in frames] for frames in scenes]
    return {"ms": _times(scenes[0], small[0], rounds), "error_px": _errors(scenes, small, frame_wh)}


def _times(frames: Sequence[SceneFrame], small: Sequence[SmallFrame], rounds: int) -> dict[str, Any]:
    image, capture_ns = frames[-1].image, frames[-1].capture_ns
    before = MotionChain()
    for one in small[:-1]:
        before = before.extended(one)
    chain = before.extended(small[-1])
    motion = chain.between(frames[0].capture_ns, capture_ns)
    frame_wh = (image.shape[1], image.shape[0])

    def every_frame() -> None:
        newest = small_frame(image, capture_ns)
        # Of the frame before they are known: those of this one are what the next frame will need.
        _ = newest.corners
        before.extended(newest)

    calls: dict[str, Callable[[], object]] = {
        "small grey frame": lambda: small_frame(image, capture_ns),
        "flow there and back, fit": lambda: motion_between(small[-2], small[-1]),
        "all of a frame": every_frame,
        "motion over half a second": lambda: chain.between(frames[0].capture_ns, capture_ns),
    }
    for name, size in INPUTS.items():
        view = size.view(frame_wh)
        for count in (1, 3):
            masks = Masks(_ellipses(view.input_wh, count), np.ones(count, np.float32), view)
            calls[f"carry {count} of {name}"] = partial(carry_masks, masks, motion)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            start = perf_counter()
            call()
            if turn >= 2:
                taken[name].append((perf_counter() - start) * 1e3)
    return {
        name: {"p50": float(np.percentile(ms, 50)), "p99": float(np.percentile(ms, 99))}
        for name, ms in taken.items()
    }


def _errors(
    scenes: Sequence[Sequence[SceneFrame]], small: Sequence[Sequence[SmallFrame]], frame_wh: tuple[int, int]
) -> dict[str, dict[str, float]]:
    steps: list[float] = []
    spans: list[float] = []
    for frames, reduced in zip(scenes, small, strict=True):
        chain = MotionChain()
        for one in reduced:
            chain = chain.extended(one)
        steps += [_error(chain, before, after, frame_wh) for before, after in pairwise(frames)]
        spans.append(_error(chain, frames[0], frames[-1], frame_wh))
    named = {"frame to frame": steps, "over half a second": spans}
    return {
        name: {"median": float(np.median(errors)), "p95": float(np.percentile(errors, 95))}
        for name, errors in named.items()
    }


def _error(chain: MotionChain, before: SceneFrame, after: SceneFrame, frame_wh: tuple[int, int]) -> float:
    """Median over the part of the frame that both show, in pixels."""
    width, height = frame_wh
    ys, xs = np.mgrid[0 : height - 1 : 12j, 0 : width - 1 : 20j]
    points = np.stack([xs, ys], axis=-1).reshape(-1, 1, 2)
    found = chain.between(before.capture_ns, after.capture_ns)
    true = Motion(np.linalg.inv(after.to_first) @ before.to_first)
    one, two = (cv2.perspectiveTransform(points, motion.matrix)[:, 0] for motion in (found, true))
    seen = ((two > 0) & (two < (width, height))).all(axis=1)
    return float(np.median(np.linalg.norm((one - two)[seen], axis=1)))


def _frames(seed: int, frame_wh: tuple[int, int]) -> list[SceneFrame]:
    scene = Scene(seed, *frame_wh, duration_s=2.0)
    return [scene.frame(FIRST + index) for index in range(FRAMES)]


def _ellipses(input_wh: tuple[int, int], count: int) -> NDArray[np.float32]:
    """(count, h, w) logits of a mask a fifth of the view wide."""
    width, height = (side // 4 for side in input_wh)
    ys, xs = np.mgrid[:height, :width]
    plane = 8 - 80 * np.hypot((xs / width - 0.5), (ys / height - 0.4))
    return np.repeat(plane[None].astype(np.float32), count, axis=0)


@click.command(cls=Benchmark)
@size_option
@click.option("--rounds", type=click.IntRange(1), default=300, show_default=True, help="Calls of each.")
@click.option("--seeds", type=click.IntRange(1), default=4, show_default=True, help="Scenes.")
@json_option
def main(size: str, rounds: int, seeds: int, as_json: bool) -> None:
    """Print what following the camera and carrying masks takes, and how exact it is.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.streaming.motion
      taskset -c 0 python -m sam_edge.benchmarks.speed.streaming.motion --rounds 1000 --json
    """
    cv2.setNumThreads(1)
    found = measure(parse_size(size, "--size"), rounds, seeds)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        heads = list(next(iter(rows.values())))
        click.echo(f"{title:<28}" + "".join(f"{head:>10}" for head in heads))
        for name, row in rows.items():
            click.echo(f"{name:<28}" + "".join(f"{row[head]:>10.3f}" for head in heads))


if __name__ == "__main__":
    main()
