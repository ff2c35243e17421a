"""Following an object without gaze: how long, how well, and whether its loss is said when it is lost.

python -m sam_edge.benchmarks.quality.streaming.follow [DATA ...] [--scenes N] [--first-seed S] [--model nano]
    [--runtime NAME] [--json]

Each object of a video is shown once, by the middle or the box of its first mask, and followed to the end by
`sam_edge.streaming.follow`, carried along by its own motion (`object`), the camera's (`camera`) or not at all
(`still`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from time import perf_counter

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.benchmarks.quality.labelled import DataSet, open_datasets
from sam_edge.cli.options import FiniteRange, runtime_option
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.imaging.overlap import mask_iou
from sam_edge.loading import load
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.choice import choose
from sam_edge.streaming.follow import FollowConfig, Followed, attempt, begin, judge
from sam_edge.streaming.motion.flow import SmallFrame, motion_between, small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.motion.object_motion import object_motion
from sam_edge.synthetic.gaze.clicks import centre_click
from sam_edge.synthetic.scene import Scene

LOST = 0.3
"""A mask of less IoU with the truth has lost its object."""
STARTED = 0.5
"""Where the first mask has less, something else is followed: that is a fault of the prompt, and left out."""
SMALL_AREA_PX = 500
"""Smaller objects of generated scenes are not followed."""
Carry = Callable[[SmallFrame, SmallFrame, Masks, Motion], Motion]
CARRIES: dict[str, Carry] = {
    "object": object_motion,
    "camera": lambda before, after, masks, camera: camera,
    "still": lambda before, after, masks, camera: Motion(),
}
STARTS = ("box", "point")


@dataclass(frozen=True, eq=False)
class Video:
    """Frames and the truth of their objects."""

    dataset: str
    name: str
    shots: Iterable[tuple[NDArray[np.uint8], Mapping[int, NDArray[np.bool_]]]]
    """(H, W, 3) RGB, and object -> (H, W); an object that is not seen is missing."""


@dataclass
class Track:
    """One object, followed through a video in one way. The first frame, on which it was shown, is left out."""

    dataset: str
    carry: str
    start: str
    number: int
    state: Followed
    ious: list[float] = field(default_factory=list)
    """Of the mask that is shown on each frame with the truth; none is shown once it was said to be lost."""
    shown: int = 0
    """Frames with a mask."""
    wrong: int = 0
    """Of those, how many have less IoU than LOST."""
    said_rightly: bool | None = None
    """Whether the object was lost indeed when it was said to be; None: it never was said."""
    step_ms: list[float] = field(default_factory=list)
    """What following took on each frame beside the decoder, the motion included."""

    def step(
        self,
        segmenter: Segmenter,
        embedding: Embedding,
        frames: tuple[SmallFrame, SmallFrame],
        camera: Motion,
        truth: NDArray[np.bool_],
        config: FollowConfig,
    ) -> None:
        """Go on to the next frame."""
        if self.state.status == "lost":
            self.ious.append(mask_iou(np.zeros_like(truth), truth))
            return
        start = perf_counter()
        motion = CARRIES[self.carry](*frames, self.state.masks, camera)
        tried = attempt(self.state, motion, takes_masks=segmenter.takes_masks, config=config)
        between = perf_counter()
        answer = None if tried is None else segmenter.decode(embedding, tried.prompt)
        decoded = perf_counter()
        self.state = judge(self.state, tried, answer, embedding, config)
        self.step_ms.append((perf_counter() - decoded + between - start) * 1e3)
        overlap = (
            mask_iou(self.state.masks.binary[0], truth) if tried else mask_iou(np.zeros_like(truth), truth)
        )
        if self.state.status == "lost":
            self.said_rightly = overlap < LOST or not bool(truth.any())
            overlap = mask_iou(np.zeros_like(truth), truth)
        else:
            self.shown += 1
            self.wrong += int(overlap < LOST)
        self.ious.append(overlap)


def measure(segmenter: Segmenter, videos: Iterable[Video], config: FollowConfig) -> list[Track]:
    """Follow every object of the first frame of every video, in every way."""
    tracks = []
    for video in videos:
        shots = iter(video.shots)
        image, masks = next(shots)
        embedding, before = segmenter.encode(image), small_frame(image, 0)
        own = list(_begin(segmenter, video.dataset, embedding, masks))
        for image, masks in shots:
            embedding, after = segmenter.encode(image), small_frame(image, 0)
            camera = motion_between(before, after)
            for track in own:
                truth = masks.get(track.number, np.zeros(image.shape[:2], np.bool_))
                track.step(segmenter, embedding, (before, after), camera, truth, config)
            before = after
        tracks += own
    return tracks


def summarize(tracks: Sequence[Track]) -> dict[str, dict[str, float]]:
    """Set, carrying and start -> what was measured.

    `J` is the mean IoU over all frames (that of no mask once the loss was said), `J_shown` over those with a
    mask, `wrong` the share of those with less IoU than LOST. `said` is how many tracks were said to be lost,
    `rightly` how many of them were, `missed` how many were lost at the end and were not said to be. `precision`
    is rightly / said, `recall` rightly / (rightly + missed); NaN where nothing was.
    """
    found = {}
    names = dict.fromkeys((track.dataset, track.carry, track.start) for track in tracks)
    for name in names:
        own = [track for track in tracks if (track.dataset, track.carry, track.start) == name]
        shown, wrong = sum(track.shown for track in own), sum(track.wrong for track in own)
        said = [track.said_rightly for track in own if track.said_rightly is not None]
        missed = sum(track.said_rightly is None and bool(track.ious[-1] < LOST) for track in own)
        on_mask = [iou for track in own for iou in track.ious[: track.shown]]
        rightly = sum(map(bool, said))
        found[", ".join(name)] = {
            "tracks": len(own),
            "J": float(np.mean([np.mean(track.ious) for track in own])),
            "J_shown": float(np.mean(on_mask)) if on_mask else math.nan,
            "frames_shown": shown / len(own),
            "wrong": wrong / shown if shown else math.nan,
            "said": len(said),
            "rightly": rightly,
            "missed": missed,
            "precision": rightly / len(said) if said else math.nan,
            "recall": rightly / (rightly + missed) if rightly + missed else math.nan,
            "step_ms": float(np.median([ms for track in own for ms in track.step_ms])),
        }
    return found


def davis_videos(datasets: Sequence[DataSet]) -> Iterator[Video]:
    """The sequences of labelled sets; those with every frame apart from those with every fifth or so."""
    for dataset in datasets:
        for name, group in groupby(dataset, lambda labelled: labelled.name.partition("/")[0]):
            shots = list(group)
            numbers = [shot.name.rpartition("/")[2] for shot in shots]
            if len(shots) < 2 or not shots[0].masks or not all(map(str.isdecimal, numbers)):
                continue
            step = int(numbers[1]) - int(numbers[0])
            every = "every frame" if step == 1 else f"every {step}th frame"
            yield Video(f"{dataset.name}, {every}", name, [(shot.image, shot.masks) for shot in shots])


def scene_videos(seeds: Sequence[int], seconds: float) -> Iterator[Video]:
    """Generated scenes (640 x 360) at 30 frames a second, in which a head turns and objects leave the frame."""
    for seed in seeds:
        yield Video("scenes", str(seed), _scene_shots(Scene(seed=seed, duration_s=seconds)))


def _scene_shots(scene: Scene) -> Iterator[tuple[NDArray[np.uint8], dict[int, NDArray[np.bool_]]]]:
    for frame in scene.frames():
        masks = {label: frame.labels == label for label in scene.names}
        yield frame.image, {label: mask for label, mask in masks.items() if mask.any()}


def _begin(
    segmenter: Segmenter, dataset: str, embedding: Embedding, masks: Mapping[int, NDArray[np.bool_]]
) -> Iterator[Track]:
    for number, truth in masks.items():
        if np.count_nonzero(truth) < SMALL_AREA_PX:
            continue
        left, top, width, height = cv2.boundingRect(truth.astype(np.uint8))
        prompts = {
            "box": Prompt.box((left, top, left + width, top + height)),
            "point": Prompt.points([centre_click(truth)]),
        }
        for start in STARTS:
            answer = segmenter.decode(embedding, prompts[start])
            first = answer[choose(answer).index]
            if mask_iou(first.binary[0], truth) >= STARTED:
                for carry in CARRIES:
                    yield Track(dataset, carry, start, number, begin(number, first, embedding))


@click.command(cls=Benchmark)
@click.argument("data", nargs=-1)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtime_option
@click.option("--scenes", type=click.IntRange(0), default=6, show_default=True, help="Generated scenes.")
@click.option("--first-seed", type=click.IntRange(0), default=200, show_default=True, help="Of the scenes.")
@click.option("--seconds", type=FiniteRange(0.1, 60), default=3.0, show_default=True, help="Length of a scene.")
@click.option("--least-predicted-iou", type=FiniteRange(0, 1), help="[default: that of FollowConfig]")
@click.option("--least-likeness", type=FiniteRange(-1, 1), help="[default: that of FollowConfig]")
@json_option
def main(
    data: tuple[str, ...],
    model: str,
    runtime: str | None,
    scenes: int,
    first_seed: int,
    seconds: float,
    least_predicted_iou: float | None,
    least_likeness: float | None,
    as_json: bool,
) -> None:
    """Print how well objects are followed without gaze, and whether their loss is said.

    DATA are labelled videos, as for `sam-edge eval video`.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.streaming.follow davis2016
      python -m sam_edge.benchmarks.quality.streaming.follow --scenes 2 --json
    """
    given = {"least_predicted_iou": least_predicted_iou, "least_likeness": least_likeness}
    config = FollowConfig(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    datasets = open_datasets(data, min_area_px=1)
    videos = chain(scene_videos(range(first_seed, first_seed + scenes), seconds), davis_videos(datasets))
    with load(model, runtime=runtime) as segmenter:
        rows = summarize(measure(segmenter, videos, config))
    if not rows:
        raise InputError("nothing was followed", hint="give DATA, or --scenes of 1 or more")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    heads = list(next(iter(rows.values())))
    click.echo(" " * 42 + "".join(f"{head:>14}" for head in heads))
    for name, row in rows.items():
        click.echo(f"{name:<42}" + "".join(f"{row[head]:>14.3g}" for head in heads))


if __name__ == "__main__":
    main()
