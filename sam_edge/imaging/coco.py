"""Masks as COCO's run lengths, boxes and areas, which JSON can hold and pycocotools reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from sam_edge.masks import Masks


def describe(masks: Masks) -> list[dict[str, Any]]:
    """Each mask's run lengths, box (left, top, width, height in pixels), area, and scores."""
    parts = zip(
        masks.rle(), masks.boxes_px(), masks.binary, masks.predicted_iou, masks.stability_score(), strict=True
    )
    return [
        {
            "rle": rle,
            "bbox": box.tolist(),
            "area": int(np.count_nonzero(plane)),
            "predicted_iou": round(float(iou), 4),
            "stability_score": round(float(stability), 4),
        }
        for rle, box, plane, iou, stability in parts
    ]
