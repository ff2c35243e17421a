"""Where a window round the gaze is worth it: mask IoU of whole frame and windows, by the size of the object.

python -m sam_edge.benchmarks.quality.streaming.foveation [DATA ...] [--scenes N] [--first-seed S] [--limit N]
    [--model nano] [--runtime NAME] [--json]

A point, off by half a degree as a filtered gaze is, shows each object. `whole` is the answer of the whole
frame, `half` and `third` those of windows of 1/2 and 1/3 of the frame's sides round the point, `half_256` and
`third_256` the same at half the encoder's resolution (nano takes any size), `rule` what a stream does with the
default FoveationConfig: the whole frame first, then the window that suits the mask found there, if any.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.benchmarks.quality.gaze_noise import LONG_SIDE_DEG
from sam_edge.benchmarks.quality.labelled import Labelled, open_datasets
from sam_edge.benchmarks.quality.scores import Row, report, table
from sam_edge.benchmarks.speed.timing import interleaved_ms
from sam_edge.cli.options import runtime_option
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.overlap import mask_iou
from sam_edge.loading import load
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.foveation import FoveationConfig, Window, choose_window, window_view
from sam_edge.synthetic.gaze.clicks import centre_click, displaced
from sam_edge.synthetic.scene import Scene

ERROR_DEG = 0.5
EXTENTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Upper ends of the groups: the object's share of the frame's side, the larger of across and down."""
SHARES = {"half": 1 / 2, "third": 1 / 3}
FRAMES = 6
"""Of each scene, spread over it."""
SMALL_AREA_PX = 100
"""Smaller objects are left out."""


def measure(segmenter: Segmenter, images: Iterator[Labelled], config: FoveationConfig) -> list[Row]:
    """One row an object: IoU of the mask of the highest predicted IoU, of each way to encode (see above).

    `whole_oracle` and so on are the best of the three masks. The field `extent` is the data set and the
    object's share of the frame's side.
    """
    rows = []
    for labelled in images:
        frame_wh = (labelled.image.shape[1], labelled.image.shape[0])
        whole = segmenter.encode(labelled.image)
        for number, truth in labelled.masks.items():
            rng = np.random.default_rng([0, number, *labelled.name.encode()])
            error_px = ERROR_DEG * max(frame_wh) / LONG_SIDE_DEG
            point = displaced(centre_click(truth), error_px, frame_wh, rng)
            prompt = Prompt.points([point])
            answers = {"whole": segmenter.decode(whole, prompt)}
            for name, view in views(segmenter, frame_wh, point).items():
                answers[name] = segmenter.decode(segmenter.encode(labelled.image, view), prompt)
            answers["rule"] = _by_rule(segmenter, labelled.image, point, answers["whole"], config)
            scores: dict[str, float] = {}
            for name, masks in answers.items():
                overlaps = [mask_iou(plane, truth) for plane in masks.binary]
                scores[name] = overlaps[int(masks.predicted_iou.argmax())]
                scores[f"{name}_oracle"] = max(overlaps)
            scores["rule_window"] = float(answers["rule"].view != answers["whole"].view)
            fields = {"extent": f"{labelled.dataset} {_extent(truth)}"}
            rows.append(Row(labelled.dataset, labelled.name, number, fields, scores))
    return rows


def views(segmenter: Segmenter, frame_wh: tuple[int, int], point: tuple[float, float]) -> dict[str, View]:
    """The windows round a point, and the same at half the resolution where a model's input may be smaller."""
    rule = segmenter.manifest.input_size
    small = None if rule.sides_wh else replace(rule, long_side=max(rule.multiple, rule.long_side // 2))
    found = {}
    for name, share in SHARES.items():
        window = _round(frame_wh, point, share)
        found[name] = segmenter.view(frame_wh, window)
        if small is not None:
            found[f"{name}_{small.long_side}"] = small.view(frame_wh, window)
    return found


def encode_ms(segmenter: Segmenter, frame_wh: tuple[int, int] = (1280, 720)) -> dict[str, float]:
    """Median milliseconds of `encode` of each view, measured in turns."""
    image = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    middle = (frame_wh[0] / 2, frame_wh[1] / 2)
    every = {"whole": segmenter.view(frame_wh), **views(segmenter, frame_wh, middle)}
    return interleaved_ms(
        {name: lambda view=view: segmenter.encode(image, view) for name, view in every.items()}  # type: ignore[misc]
    )


def scene_images(seeds: Sequence[int]) -> Iterator[Labelled]:
    """Frames of generated scenes (1280 x 720) with the objects that are seen whole enough."""
    for seed in seeds:
        scene = Scene(seed=seed, width=1280, height=720, duration_s=6.0)
        for index in range(0, scene.frame_count, scene.frame_count // FRAMES):
            frame = scene.frame(index)
            masks = {label: frame.labels == label for label in scene.names}
            kept = {label: mask for label, mask in masks.items() if np.count_nonzero(mask) >= SMALL_AREA_PX}
            yield Labelled("scenes", f"{seed}/{index}", frame.image, kept, {label: {} for label in kept})


def _by_rule(
    segmenter: Segmenter,
    image: NDArray[np.uint8],
    point: tuple[float, float],
    whole: Masks,
    config: FoveationConfig,
) -> Masks:
    """What a stream answers in a fixation, once the whole frame has shown how large the object is."""
    left, top, width, height = whole.best().boxes_px()[0].tolist()
    if not width:
        return whole
    frame_wh = whole.view.frame_wh
    window = choose_window(frame_wh, point, None, (left, top, left + width, top + height), config)
    view = window_view(segmenter, frame_wh, window)
    if view == whole.view:
        return whole
    return segmenter.decode(segmenter.encode(image, view), Prompt.points([point]))


def _round(frame_wh: tuple[int, int], point: tuple[float, float], share: float) -> Window:
    """A window of that share of the sides round a point, inside the frame."""
    sides = [round(side * share) for side in frame_wh]
    corner = [
        min(max(0, round(at - side / 2)), room - side)
        for at, side, room in zip(point, sides, frame_wh, strict=True)
    ]
    return corner[0], corner[1], sides[0], sides[1]


def _extent(truth: NDArray[np.bool_]) -> str:
    _, _, width, height = cv2.boundingRect(truth.astype(np.uint8))
    share = max(width / truth.shape[1], height / truth.shape[0])
    high = next(end for end in EXTENTS if share <= end)
    low = EXTENTS[EXTENTS.index(high) - 1] if high > EXTENTS[0] else 0.0
    return f"{low:.2f}-{high:.2f}"


@click.command(cls=Benchmark)
@click.argument("data", nargs=-1)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtime_option
@click.option("--scenes", type=click.IntRange(0), default=10, show_default=True, help="Generated scenes.")
@click.option("--first-seed", type=click.IntRange(0), default=200, show_default=True, help="Of the scenes.")
@click.option("--limit", type=click.IntRange(1), help="Images of each set, spread evenly.")
@json_option
def main(
    data: tuple[str, ...],
    model: str,
    runtime: str | None,
    scenes: int,
    first_seed: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the mask IoU of whole frames and of windows, by the object's share of the frame's side.

    DATA are labelled sets, as for `sam-edge eval`.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.streaming.foveation coco:val davis2016
      python -m sam_edge.benchmarks.quality.streaming.foveation --scenes 3 --json
    """
    datasets = open_datasets(data, min_area_px=SMALL_AREA_PX, limit=limit)
    rows: list[Row] = []
    with load(model, runtime=runtime) as segmenter:
        times = encode_ms(segmenter)
        for images in (scene_images(range(first_seed, first_seed + scenes)), *map(iter, datasets)):
            rows += measure(segmenter, images, FoveationConfig())
    if not rows:
        raise InputError("nothing was measured", hint="give DATA, or --scenes of 1 or more")
    document: dict[str, Any] = report(rows, "extent") | {"encode_ms": times}
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(table(document))
    click.echo("encode, ms: " + "  ".join(f"{name} {value:.1f}" for name, value in times.items()))


if __name__ == "__main__":
    main()
