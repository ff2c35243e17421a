"""How good the masks of an imprecise point are: eye trackers err by one to three degrees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sam_edge.imaging.overlap import mask_iou
from sam_edge.prompt import Prompt
from sam_edge.synthetic.gaze.clicks import centre_click, displaced

from .candidates import Candidate
from .labelled import DataSet
from .scores import Row

DEGREES = (0.0, 0.5, 1.0, 2.0, 3.0)
LONG_SIDE_DEG = 103.0
"""Width of what a Neon's scene camera sees; a photo counts as seen by such a camera."""


def evaluate_gaze_noise(
    candidate: Candidate,
    datasets: Iterable[DataSet],
    each: Callable[[], None],
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
    for dataset in datasets:
        for labelled in dataset:
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
            each()
    return rows
