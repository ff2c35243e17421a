"""How good and how steady masks are over time, when a simulated gaze follows an object through a video."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.cli.options import FiniteRange
from sam_edge.imaging.overlap import mask_iou
from sam_edge.progress import Progress
from sam_edge.prompt import Prompt
from sam_edge.synthetic.gaze.clicks import centre_click, displaced

from .candidates import Candidate
from .command import Setup, evaluation, run, seed_option
from .gaze_noise import LONG_SIDE_DEG
from .labelled import DataSet, Labelled, tracked
from .scores import Row

GAZE_ERROR_DEG = 0.5
"""Error of an eye tracker inside a fixation, after its offset was corrected."""


def evaluate_video(
    candidate: Candidate,
    datasets: Sequence[DataSet],
    progress: Progress,
    *,
    error_deg: float = GAZE_ERROR_DEG,
    seed: int = 0,
) -> list[Row]:
    """One row a frame, prompted by a gaze point near the object's middle.

    Scores: `iou` of the mask with the highest predicted IoU, `oracle` the best IoU of the three, and
    `flicker`, the part of a mask that changed although nothing moved there: 1 - IoU of the mask with the
    one before it, moved by dense optical flow. `flicker_of_truth` is the same for the labels: the error of
    the flow. Frames that do not follow another have neither (NaN).
    """
    rows = []
    for dataset, images in tracked(datasets, progress):
        before: tuple[Labelled, NDArray[np.bool_], NDArray[np.bool_]] | None = None
        rng = np.random.default_rng(seed)
        for labelled in images:
            if not labelled.masks:
                before = None
                continue
            number, truth = next(iter(labelled.masks.items()))
            masks = _look(candidate, labelled, truth, error_deg, rng)
            shown = masks[0]
            flicker = flicker_of_truth = float("nan")
            if before is not None and _follows(before[0], labelled):
                flow = motion(before[0].image, labelled.image)
                flicker = 1 - mask_iou(carried(before[1], flow), shown)
                flicker_of_truth = 1 - mask_iou(carried(before[2], flow), truth)
            scores = {
                "iou": mask_iou(shown, truth),
                "oracle": max(mask_iou(mask, truth) for mask in masks),
                "flicker": flicker,
                "flicker_of_truth": flicker_of_truth,
            }
            fields = {**labelled.fields[number], "sequence": _sequence(labelled)}
            rows.append(Row(dataset.name, labelled.name, number, fields, scores))
            before = (labelled, shown, truth)
    return rows


def motion(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 2): for each pixel of `now`, where in `before` it was, by dense inverse search optical flow."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (now, before)]
    field = flow.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32))
    ys, xs = np.mgrid[: field.shape[0], : field.shape[1]].astype(np.float32)
    return np.stack([xs + field[..., 0], ys + field[..., 1]], axis=-1)


def carried(mask: NDArray[np.bool_], source: NDArray[np.float32]) -> NDArray[np.bool_]:
    """A mask (H, W) moved: every pixel takes the value at its place (x, y) in `source` (H, W, 2)."""
    moved = cv2.remap(mask.astype(np.float32), source[..., 0], source[..., 1], cv2.INTER_LINEAR)
    return moved > 0.5


def _look(
    candidate: Candidate,
    labelled: Labelled,
    truth: NDArray[np.bool_],
    error_deg: float,
    rng: np.random.Generator,
) -> list[NDArray[np.bool_]]:
    """The three masks (H, W) of a gaze point, the highest predicted IoU first."""
    frame_wh = (labelled.image.shape[1], labelled.image.shape[0])
    error_px = error_deg * max(frame_wh) / LONG_SIDE_DEG
    point = displaced(centre_click(truth), error_px, frame_wh, rng)
    masks = candidate.decode(candidate.encode(labelled.image), Prompt.points([point]))
    order = np.argsort(-masks.predicted_iou)
    return [masks.binary[index] for index in order]


def _sequence(labelled: Labelled) -> str:
    return labelled.name.partition("/")[0]


def _follows(before: Labelled, labelled: Labelled) -> bool:
    """Whether an image is the next frame of the same sequence; every fifth frame is too far for flow."""
    same = _sequence(before) == _sequence(labelled)
    numbers = [item.name.rpartition("/")[2] for item in (before, labelled)]
    return same and all(text.isdecimal() for text in numbers) and int(numbers[1]) - int(numbers[0]) == 1


@click.command(short_help="Videos that a simulated gaze follows, and flicker.")
@partial(evaluation, videos=True)
@click.option("--error", type=FiniteRange(0), default=0.5, show_default=True, help="Pointing error, degrees.")
@seed_option
def video(setup: Setup, error: float, seed: int) -> None:
    """IoU of every frame of a video that a simulated gaze follows, and flicker.

    \b
    Examples:
      sam-edge eval video davis2016 --group-by sequence
    """

    def rows(candidate: Candidate, progress: Progress) -> list[Row]:
        return evaluate_video(candidate, setup.datasets, progress, error_deg=error, seed=seed)

    run(setup, rows, "iou")
