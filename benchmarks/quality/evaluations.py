"""`sam-edge eval`: how good a model's masks are, on labelled images."""

from __future__ import annotations

import click

from sam_edge.cli.group import LazyGroup

EVALUATIONS = {
    "points": (
        "sam_edge.benchmarks.quality.points:points",
        "One point after the other, where the mask is most wrong.",
    ),
    "gaze-noise": (
        "sam_edge.benchmarks.quality.gaze_noise:gaze_noise",
        "One point, as imprecise as eye trackers are.",
    ),
    "boxes": ("sam_edge.benchmarks.quality.boxes:boxes", "Boxes, and COCO's mask AP."),
    "video": ("sam_edge.benchmarks.quality.video:video", "Videos that a simulated gaze follows, and flicker."),
}
"""Evaluation -> where it is, and its line in the overview."""


@click.group(cls=LazyGroup, table=EVALUATIONS)
def evaluate() -> None:
    """Measure a model's masks on labelled images.

    Each DATA is FOLDER or FOLDER:SPLIT with FOLDER/images/SPLIT/*.jpg and FOLDER/labels/SPLIT/*.png. A label
    image, grey or with a palette, has 0 where nothing is labelled and a positive number for each object.
    Intervals are 95 % bootstrap intervals over images.

    \b
    Examples:
      sam-edge eval points coco:val davis2016 --sheet points.png
      sam-edge eval points coco:val --baseline slic --baseline grabcut --limit 40
      sam-edge eval gaze-noise coco:val --degrees 0,1,2,3
      sam-edge eval boxes coco:val --ap
      sam-edge eval video davis2016
    """
