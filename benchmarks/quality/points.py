"""How good the masks of points are: the single-point evaluation of Segment Anything, and its corrections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import Masks
from sam_edge.progress import Progress
from sam_edge.prompt import FOREGROUND, Prompt
from sam_edge.synthetic.gaze.clicks import centre_click, correcting_click, random_click

from .candidates import Candidate
from .command import Setup, evaluation, listed, run, seed_option
from .labelled import DataSet, Labelled, tracked
from .scores import Row

MAX_CLICKS = 20
"""Where counting clicks ends, as in RITM: an IoU that is not reached counts as this many, for every model, also
for one that takes fewer points."""
NOC_TARGETS = (0.80, 0.85, 0.90)

First = Literal["centre", "random"]
FirstClick = Callable[[NDArray[np.bool_], np.random.Generator], tuple[float, float]]
FIRST_CLICKS: dict[str, FirstClick] = {
    "centre": lambda mask, rng: centre_click(mask),
    "random": random_click,
}


@dataclass(frozen=True)
class PointProtocol:
    """Which numbers of points are measured, and how the clicks are placed."""

    counts: Sequence[int] = (1, 2, 3, 5, 9)
    first: First = "centre"
    feedback: bool = True
    """Whether the answer's logits go back in as a mask prompt with the next click."""
    noc: bool = False
    """Whether to go on to MAX_CLICKS and count the clicks to each IoU of NOC_TARGETS."""
    seed: int = 0


def evaluate_points(
    candidate: Candidate, datasets: Sequence[DataSet], protocol: PointProtocol, progress: Progress
) -> list[Row]:
    """One row an object.

    Scores: `N_point`, the IoU after N points, of the mask that the model is most confident of;
    `1_point_oracle`, the best IoU of the masks of one point; `noc_80` and so on, the clicks to IoU 0.80.

    Raises:
        InputError: the protocol has more points than the candidate takes; nothing was measured.
    """
    most = max(protocol.counts)
    if most > candidate.max_points:
        raise InputError(
            f"{most} points are more than the {candidate.max_points} that this model takes",
            hint=f"give smaller --counts, or make the model with sam-edge export --max-points {most}",
        )
    rows = []
    for dataset, images in tracked(datasets, progress):
        for labelled in images:
            embedding = candidate.encode(labelled.image)
            for number, mask in labelled.masks.items():
                scores = _scores(candidate, embedding, mask, protocol, _rng(labelled, number, protocol.seed))
                rows.append(Row(dataset.name, labelled.name, number, labelled.fields[number], scores))
    return rows


def _scores(
    candidate: Candidate,
    embedding: Embedding,
    truth: NDArray[np.bool_],
    protocol: PointProtocol,
    rng: np.random.Generator,
) -> dict[str, float]:
    last = max(*protocol.counts, min(MAX_CLICKS, candidate.max_points) if protocol.noc else 0)
    scores: dict[str, float] = {}
    reached: list[float] = []
    for count, masks in enumerate(_answers(candidate, embedding, truth, protocol, rng), start=1):
        iou = mask_iou(masks.best().binary[0], truth)
        reached.append(iou)
        if count in protocol.counts:
            scores[f"{count}_point"] = iou
        if count == 1:
            scores["1_point_oracle"] = max(mask_iou(plane, truth) for plane in masks.binary)
        if count == last:
            break
    if protocol.noc:
        for target in NOC_TARGETS:
            hits = (count for count, iou in enumerate(reached[:MAX_CLICKS], start=1) if iou >= target)
            scores[f"noc_{target * 100:.0f}"] = float(next(hits, MAX_CLICKS))
    return scores


def _answers(
    candidate: Candidate,
    embedding: Embedding,
    truth: NDArray[np.bool_],
    protocol: PointProtocol,
    rng: np.random.Generator,
) -> Iterator[Masks]:
    """The answers to 1, 2, 3, ... clicks."""
    points = [FIRST_CLICKS[protocol.first](truth, rng)]
    labels = [FOREGROUND]
    clicked = np.zeros_like(truth)
    logits: NDArray[np.float32] | None = None
    while True:
        x, y = points[-1]
        clicked[round(y), round(x)] = True
        masks = candidate.decode(embedding, Prompt.points(points, labels, mask_logits=logits))
        yield masks
        best = masks.best()
        logits = best.logits[0] if protocol.feedback else None
        x, y, label = correcting_click(best.binary[0], truth, clicked)
        points.append((x, y))
        labels.append(label)


def _rng(labelled: Labelled, number: int, seed: int) -> np.random.Generator:
    """The same clicks for an object, whichever images are measured beside it."""
    return np.random.default_rng([seed, number, *labelled.name.encode()])


@click.command(short_help="One point after the other, where the mask is most wrong.")
@evaluation
@click.option(
    "--counts",
    callback=listed(int, "whole numbers", 1),
    default="1,2,3,5,9",
    show_default=True,
    help="Numbers of points; nano takes 20 at most, an exported model 10, or what export --max-points said.",
)
@click.option("--first", type=click.Choice(["centre", "random"]), default="centre", show_default=True)
@click.option(
    "--feedback/--no-feedback",
    default=True,
    show_default=True,
    help="Whether the logits of an answer go into the next prompt.",
)
@click.option("--noc", is_flag=True, help="Count the clicks to IoU 0.80, 0.85, 0.90. Not reached counts as 20.")
@seed_option
def points(setup: Setup, counts: tuple[int, ...], first: First, feedback: bool, noc: bool, seed: int) -> None:
    """IoU after 1, 2, 3, ... points, each where the answer before it was most wrong.

    \b
    Examples:
      sam-edge eval points coco:val
      sam-edge eval points coco:val --counts 1 --first random --group-by size
    """
    protocol = PointProtocol(counts, first, feedback, noc, seed)

    def rows(candidate: Candidate, progress: Progress) -> list[Row]:
        if noc and candidate.max_points < MAX_CLICKS:
            click.echo(
                f"note: this model takes {candidate.max_points} points: an IoU not reached with them counts as "
                f"{MAX_CLICKS} clicks; sam-edge export --max-points {MAX_CLICKS} makes a model that takes more",
                err=True,
            )
        return evaluate_points(candidate, setup.datasets, protocol, progress)

    run(setup, rows, f"{min(counts)}_point")
