"""How good the masks of boxes are: mIoU by size, and COCO's mask AP."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sam_edge.errors import InputError
from sam_edge.imaging.overlap import mask_iou
from sam_edge.progress import Progress
from sam_edge.prompt import Prompt

from .candidates import Candidate
from .command import Setup, evaluation, run
from .labelled import DataSet, Labelled, tracked
from .scores import Row

AP_NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


@dataclass(frozen=True)
class Detection:
    """A detector's box on an image."""

    box_px: tuple[float, float, float, float]
    """x0, y0, x1, y1."""
    category: str
    score: float


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a mask (H, W): the edges of its outermost pixels."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


def evaluate_boxes(candidate: Candidate, datasets: Sequence[DataSet], progress: Progress) -> list[Row]:
    """One row an object, prompted by its own box.

    Scores are IoUs: `single`, of the single mask; `most_confident`, of the mask of three with the highest
    predicted IoU; `oracle`, the best of the three.
    """
    rows = []
    for dataset, images in tracked(datasets, progress):
        for labelled in images:
            embedding = candidate.encode(labelled.image)
            for number, truth in labelled.masks.items():
                prompt = Prompt.box(box_of(truth))
                single = candidate.decode(embedding, prompt, multimask=False)
                three = candidate.decode(embedding, prompt, multimask=True)
                overlaps = [mask_iou(plane, truth) for plane in three.binary]
                scores = {
                    "single": mask_iou(single.binary[0], truth),
                    "most_confident": overlaps[int(three.predicted_iou.argmax())],
                    "oracle": max(overlaps),
                }
                rows.append(Row(dataset.name, labelled.name, number, labelled.fields[number], scores))
    return rows


def evaluate_ap(
    candidate: Candidate,
    dataset: DataSet,
    progress: Progress,
    detections: Mapping[str, Sequence[Detection]] | None = None,
) -> dict[str, float]:
    """COCO's mask AP of single masks prompted by boxes: a detector's, or each object's own.

    An answer's score is the detector's; for own boxes it is the predicted IoU. Objects without a `category`
    count as one category. Sizes that no object has are left out.
    """
    truths: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    images = []
    shown = (labelled for _, images in tracked([dataset], progress) for labelled in images)
    for index, labelled in enumerate(shown, start=1):
        height, width = labelled.image.shape[:2]
        images.append({"id": index, "width": width, "height": height})
        embedding = candidate.encode(labelled.image)
        for number, truth in labelled.masks.items():
            category = categories.setdefault(_category(labelled, number), len(categories) + 1)
            truths.append(_truth(truth, len(truths) + 1, index, category))
        for found in _detections(labelled, detections):
            masks = candidate.decode(embedding, Prompt.box(found.box_px), multimask=False)
            answers.append(
                {
                    "image_id": index,
                    "category_id": categories.setdefault(found.category, len(categories) + 1),
                    "segmentation": masks.rle()[0],
                    "score": found.score if detections is not None else float(masks.predicted_iou[0]),
                }
            )
    return _coco_ap(images, truths, answers, categories)


def read_detections(path: Path) -> dict[str, list[Detection]]:
    """Boxes by image name from JSON: [{"image", "bbox": [x, y, w, h], "category", "score"}, ...]."""
    try:
        items = json.loads(path.read_bytes())
        found: dict[str, list[Detection]] = {}
        for item in items:
            x, y, width, height = (float(side) for side in item["bbox"])
            box = (x, y, x + width, y + height)
            if not (width > 0 and height > 0):
                raise ValueError(f"bbox {item['bbox']} is empty")
            detection = Detection(box, str(item["category"]), float(item["score"]))
            found.setdefault(str(item["image"]), []).append(detection)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a list of detections",
            path=path,
            hint="give image, bbox (x, y, w, h), category and score of each",
        ) from error
    return found


def _category(labelled: Labelled, number: int) -> str:
    return labelled.fields[number].get("category", "object")


def _detections(
    labelled: Labelled, detections: Mapping[str, Sequence[Detection]] | None
) -> Sequence[Detection]:
    if detections is not None:
        return detections.get(labelled.name.rpartition("/")[2], ())
    return [
        Detection(box_of(mask), _category(labelled, number), 1.0) for number, mask in labelled.masks.items()
    ]


def _truth(mask: NDArray[np.bool_], number: int, image: int, category: int) -> dict[str, Any]:
    from pycocotools import mask as coco

    x0, y0, x1, y1 = box_of(mask)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": coco.encode(np.asfortranarray(mask, np.uint8)),
        "area": int(mask.sum()),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
    }


def _coco_ap(
    images: list[dict[str, Any]],
    truths: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    categories: Mapping[str, int],
) -> dict[str, float]:
    if not answers or not truths:
        raise InputError("no box to evaluate: the detections name none of these images")
    # pycocotools reports on standard output, which belongs to our own results.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": images,
            "annotations": truths,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(answers), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # pycocotools answers -1 where there is nothing to find.
    found = zip(AP_NAMES, evaluation.stats, strict=False)
    return {name: float(value) for name, value in found if value >= 0}


@click.command(short_help="Boxes, and COCO's mask AP.")
@evaluation
@click.option("--ap", is_flag=True, help="COCO mask AP as well.")
@click.option("--detections", type=Path, help="A detector's boxes for --ap: JSON with image, bbox, ...")
def boxes(setup: Setup, ap: bool, detections: Path | None) -> None:
    """IoU of box prompts, each object's own box; with --ap COCO's mask AP.

    \b
    Examples:
      sam-edge eval boxes coco:val --group-by size
      sam-edge eval boxes coco:val --ap --detections boxes.json
    """
    if detections and not ap:
        raise InputError("--detections are for the average precision", hint="add --ap")
    found = read_detections(detections) if detections else None

    def extra(candidate: Candidate, progress: Progress) -> dict[str, Any]:
        if not ap:
            return {}
        scores = {}
        for dataset in setup.datasets:
            scores[dataset.name] = evaluate_ap(candidate, dataset, progress, found)
        return {"coco_ap": scores}

    run(setup, lambda candidate, progress: evaluate_boxes(candidate, setup.datasets, progress), "single", extra)
