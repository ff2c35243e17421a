"""Choosing among three masks with memory, against the highest predicted IoU: flicker, and IoU with the truth.

python -m sam_edge.benchmarks.quality.streaming.choice [DATA ...] [--scenes N] [--first-seed S] [--memory W ...]
    [--model nano] [--runtime NAME] [--json]

On generated scenes (1280 x 720) a simulated gaze, whose every sample is off by 0.4 degrees, is decoded 60 times
a second; masks are carried by the true motion of the background. On videos a gaze near the object's middle is
decoded once a frame; masks are carried by the measured motion of the background, or of the gaze where that
moves by itself. The default weights were chosen on the scenes of seeds 100 to 109.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from time import perf_counter

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.benchmarks.quality.gaze_noise import LONG_SIDE_DEG
from sam_edge.benchmarks.quality.labelled import DataSet, open_datasets
from sam_edge.benchmarks.quality.streaming.follow import davis_videos
from sam_edge.cli.options import FiniteRange, runtime_option
from sam_edge.errors import InputError
from sam_edge.imaging.overlap import mask_iou
from sam_edge.loading import load
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.choice import ChoiceConfig, choose
from sam_edge.streaming.flicker import Flicker, change
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.flow import SmallFrame, motion_between, small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.motion.pursuit import pursued
from sam_edge.synthetic.gaze.clicks import centre_click, displaced
from sam_edge.synthetic.gaze.recording import simulate_gaze
from sam_edge.synthetic.scene import Scene

RATE_HZ = 60.0
ERROR_DEG = 0.5
"""Standard deviation of how far the gaze of videos is off."""
PURSUIT_DEG = 1.5
"""From where on a gaze that moves against the background is taken to follow an object."""
MIN_VISIBLE_PX = 200
"""A truth of fewer pixels is not compared with."""


@dataclass(frozen=True, eq=False)
class Look:
    """A gaze point that was decoded."""

    dataset: str
    masks: Masks
    """All three."""
    point_px: tuple[float, float]
    truth: NDArray[np.bool_] | None
    """(H, W) of what is looked at; None where it is the background, or hardly seen."""
    motion: Motion | None
    """From the frame of the look before; None where this one begins a fixation."""


@dataclass
class Policy:
    """A way to choose, and what came of it."""

    config: ChoiceConfig
    shown: Masks | None = None
    flicker: Flicker = field(default_factory=Flicker)
    ious: list[float] = field(default_factory=list)
    choose_ms: list[float] = field(default_factory=list)

    def look(self, look: Look, overlaps: Sequence[float] | None) -> None:
        """Choose one of the masks, whose IoUs with the truth are `overlaps`."""
        before = None
        if self.shown is not None and look.motion is not None:
            before = carry_masks(self.shown, look.motion)
        start = perf_counter()
        index = choose(look.masks, before, look.point_px, self.config).index
        self.choose_ms.append((perf_counter() - start) * 1e3)
        self.shown = look.masks[index]
        if before is not None:
            self.flicker = self.flicker.then(change(before.logits[0], self.shown.logits[0]))
        if overlaps is not None:
            self.ious.append(overlaps[index])


def measure(looks: Iterable[Look], configs: dict[str, ChoiceConfig]) -> dict[str, dict[str, dict[str, float]]]:
    """Data set -> way to choose -> flicker, share of jumps, IoU, looks, and milliseconds of `choose`.

    `oracle` is the IoU of the best of the three masks.
    """
    policies: dict[str, dict[str, Policy]] = {}
    oracle: dict[str, list[float]] = {}
    for look in looks:
        own = policies.setdefault(look.dataset, {name: Policy(config) for name, config in configs.items()})
        overlaps = None
        if look.truth is not None:
            overlaps = [mask_iou(plane, look.truth) for plane in look.masks.binary]
            oracle.setdefault(look.dataset, []).append(max(overlaps))
        for policy in own.values():
            policy.look(look, overlaps)
    return {
        dataset: {
            name: {
                "flicker": policy.flicker.mean,
                "jumps": policy.flicker.jump_share,
                "iou": _mean(policy.ious),
                "oracle": _mean(oracle.get(dataset, [])),
                "looks": len(policy.choose_ms),
                "choose_ms": float(np.median(policy.choose_ms)),
            }
            for name, policy in own.items()
        }
        for dataset, own in policies.items()
    }


def scene_looks(segmenter: Segmenter, seeds: Sequence[int], seconds: float) -> Iterator[Look]:
    """What a simulated gaze looks at in generated scenes; saccades and blinks end a fixation."""
    for seed in seeds:
        scene = Scene(seed=seed, width=1280, height=720, duration_s=seconds)
        frame = scene.frame(0)
        embedding = segmenter.encode(frame.image)
        target: int | None = None
        for sample in simulate_gaze(scene, RATE_HZ, seed):
            point = sample.x_px, sample.y_px
            rests = sample.phase in ("fixation", "pursuit")
            if not rests or not (0 <= point[0] < scene.width and 0 <= point[1] < scene.height):
                target = None
                continue
            index = min(int(sample.t_ns * scene.fps / 1e9 + 1e-6), scene.frame_count - 1)
            before = frame
            if index != frame.index:
                frame = scene.frame(index)
                embedding = segmenter.encode(frame.image)
            truth = frame.labels == sample.target_id
            is_seen = sample.target_id > 0 and np.count_nonzero(truth) >= MIN_VISIBLE_PX
            goes_on = sample.target_id == target
            motion = Motion(np.linalg.inv(frame.to_first) @ before.to_first) if goes_on else None
            masks = segmenter.decode(embedding, Prompt.points([point]))
            yield Look("scenes", masks, point, truth if is_seen else None, motion)
            target = sample.target_id


def video_looks(segmenter: Segmenter, datasets: Sequence[DataSet]) -> Iterator[Look]:
    """A gaze that stays near the middle of each video's object: one fixation."""
    for video in davis_videos(datasets):
        rng = np.random.default_rng([0, *video.name.encode()])
        small: SmallFrame | None = None
        before = (0.0, 0.0)
        for image, objects in video.shots:
            truth = next(iter(objects.values()), None)
            if truth is None:
                small = None
                continue
            frame_wh = (image.shape[1], image.shape[0])
            scale = max(frame_wh) / LONG_SIDE_DEG
            point = displaced(centre_click(truth), abs(rng.normal(0, ERROR_DEG)) * scale, frame_wh, rng)
            last, small = small, small_frame(image, 0)
            motion = None
            if last is not None:
                # As a stream does it: where the gaze goes along with the object, the mask does too.
                motion = pursued(motion_between(last, small), before, point, least_px=PURSUIT_DEG * scale)
            masks = segmenter.decode(segmenter.encode(image), Prompt.points([point]))
            yield Look(video.dataset, masks, point, truth, motion)
            before = point


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


@click.command(cls=Benchmark)
@click.argument("data", nargs=-1)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtime_option
@click.option("--scenes", type=click.IntRange(0), default=10, show_default=True, help="Generated scenes.")
@click.option("--first-seed", type=click.IntRange(0), default=200, show_default=True, help="Of the scenes.")
@click.option("--seconds", type=FiniteRange(0.1, 60), default=5.0, show_default=True, help="Length of a scene.")
@click.option(
    "--memory", type=FiniteRange(0, 100), multiple=True, help="Other weights of the memory to compare with."
)
@json_option
def main(
    data: tuple[str, ...],
    model: str,
    runtime: str | None,
    scenes: int,
    first_seed: int,
    seconds: float,
    memory: tuple[float, ...],
    as_json: bool,
) -> None:
    """Print flicker and mask IoU of choosing by predicted IoU alone, and with memory.

    DATA are labelled videos, as for `sam-edge eval video`.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.streaming.choice davis2016
      python -m sam_edge.benchmarks.quality.streaming.choice --first-seed 100 --memory 0.3 --memory 2 --json
    """
    default = ChoiceConfig()
    configs = {
        "argmax": replace(default, memory=0, size=0),
        "argmax, size": replace(default, memory=0),
        "default": default,
        **{f"memory {weight:g}": replace(default, memory=weight) for weight in memory},
    }
    datasets = open_datasets(data, min_area_px=1)
    with load(model, runtime=runtime) as segmenter:
        seeds = range(first_seed, first_seed + scenes)
        looks = chain(scene_looks(segmenter, seeds, seconds), video_looks(segmenter, datasets))
        rows = measure(looks, configs)
    if not rows:
        raise InputError("nothing was looked at", hint="give DATA, or --scenes of 1 or more")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for dataset, ways in rows.items():
        heads = list(next(iter(ways.values())))
        click.echo(f"{dataset:<24}" + "".join(f"{head:>12}" for head in heads))
        for name, row in ways.items():
            click.echo(f"  {name:<22}" + "".join(f"{row[head]:>12.4g}" for head in heads))


if __name__ == "__main__":
    main()
