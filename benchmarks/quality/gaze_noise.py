"""How good the masks of an imprecise point are: eye trackers err by one to three degrees."""

from __future__ import annotations

from collections.abc import Sequence

import click
import numpy as np

from sam_edge.cli.options import FiniteRange
from sam_edge.imaging.overlap import mask_iou
from sam_edge.progress import Progress
from sam_edge.prompt import Prompt
from sam_edge.synthetic.gaze.clicks import centre_click, displaced

from .candidates import Candidate
from .command import Setup, evaluation, listed, run, seed_option
from .labelled import DataSet, tracked
from .scores import Row

DEGREES = (0.0, 0.5, 1.0, 2.0, 3.0)
LONG_SIDE_DEG = 103.0
"""Width of what a Neon's scene camera sees; a photo counts as seen by such a camera."""


def evaluate_gaze_noise(
    candidate: Candidate,
    datasets: Sequence[DataSet],
    progress: Progress,
    *,
    degrees: Sequence[float] = DEGREES,
    px_per_degree: float | None = None,
    seed: int = 0,
) -> list[Row]:
    """One row an object: IoU of one point that is off by each number of degrees in a random direction.

    Scores: `N_deg`, of the mask with the highest predicted IoU, and `N_deg_oracle`, the best of the three.
    `px_per_degree` None takes the photo's long side as LONG_SIDE_DEG degrees.
    """
    rows = []
    for dataset, images in tracked(datasets, progress):
        for labelled in images:
            frame_wh = (labelled.image.shape[1], labelled.image.shape[0])
            scale = px_per_degree or max(frame_wh) / LONG_SIDE_DEG
            embedding = candidate.encode(labelled.image)
            for number, truth in labelled.masks.items():
                rng = np.random.default_rng([seed, number, *labelled.name.encode()])
                scores = {}
                for error in degrees:
                    point = displaced(centre_click(truth), error * scale, frame_wh, rng)
                    masks = candidate.decode(embedding, Prompt.points([point]))
                    overlaps = [mask_iou(plane, truth) for plane in masks.binary]
                    scores[f"{error:g}_deg"] = overlaps[int(masks.predicted_iou.argmax())]
                    scores[f"{error:g}_deg_oracle"] = max(overlaps)
                rows.append(Row(dataset.name, labelled.name, number, labelled.fields[number], scores))
    return rows


@click.command(short_help="One point, as imprecise as eye trackers are.")
@evaluation
@click.option(
    "--degrees",
    callback=listed(float, "numbers", 0.0),
    default="0,0.5,1,2,3",
    show_default=True,
    help="Pointing errors.",
)
@click.option("--px-per-degree", type=FiniteRange(0, min_open=True), help="[default: long side / 103]")
@seed_option
def gaze_noise(setup: Setup, degrees: tuple[float, ...], px_per_degree: float | None, seed: int) -> None:
    """IoU of one point that is off by some degrees, as eye trackers are.

    \b
    Examples:
      sam-edge eval gaze-noise coco:val davis2016
    """

    def rows(candidate: Candidate, progress: Progress) -> list[Row]:
        return evaluate_gaze_noise(
            candidate, setup.datasets, progress, degrees=degrees, px_per_degree=px_per_degree, seed=seed
        )

    run(setup, rows, f"{degrees[0]:g}_deg")
