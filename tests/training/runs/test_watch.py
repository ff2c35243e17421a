"""What a run watches is what the exported model is measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam_edge.benchmarks.quality.labelled import open_dataset
from sam_edge.benchmarks.quality.points import PointProtocol, evaluate_points
from sam_edge.loading import load
from sam_edge.progress import silent
from sam_edge.training.runs.checkpoint import load_weights
from sam_edge.training.runs.watch import coco_cases, quick_score

WEIGHTS = Path(__file__).parents[3] / "training" / "weights" / "nano.safetensors"


def test_only_large_objects_of_exhaustive_photos(tiny_data: Path) -> None:
    (case,) = coco_cases(tiny_data, photos=5, objects=2)
    assert len(case.masks) <= 2
    areas = [int(mask.sum()) for mask in case.masks]
    assert areas == sorted(areas, reverse=True)
    assert min(areas) >= 1024


def test_agrees_with_the_evaluation_of_the_exported_model(tiny_data: Path) -> None:
    """The shipped weights and the shipped model that was exported from them."""
    watched = quick_score(load_weights(WEIGHTS), coco_cases(tiny_data, photos=1, objects=9))
    with load("nano", runtime="onnxruntime") as segmenter:
        photos = [open_dataset(f"{tiny_data}/coco:val")]
        rows = evaluate_points(segmenter, photos, PointProtocol((1,)), silent)
    assert watched["oracle"] == pytest.approx(np.mean([row.scores["1_point_oracle"] for row in rows]), abs=0.01)
