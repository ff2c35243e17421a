"""The gate's limits, one by one: what they are, and that each of them is judged."""

from __future__ import annotations

import pytest

from sam_edge.bundle.manifest import PRECISIONS, Precision
from sam_edge.fidelity import gate
from sam_edge.fidelity.self_test import self_test_limits

LIMITS = {
    "fp32": {
        "mask_iou_mean": 0.999,
        "mask_iou_group": 0.997,
        "mask_iou_p1": 0.98,
        "embedding_cosine": 0.99999,
        "embedding_rms": 1e-3,
        "logits_rms": 5e-3,
        "iou_error": 2e-3,
        "shift_px": 0.02,
        "frame_rms": 1e-2,
        "frame_mask_iou": 0.99,
    },
    "fp16": {
        "mask_iou_mean": 0.995,
        "mask_iou_group": 0.985,
        "mask_iou_p1": 0.9,
        "embedding_cosine": 0.999,
        "embedding_rms": 5e-2,
        "logits_rms": 5e-2,
        "iou_error": 1e-2,
        "shift_px": 0.1,
        "frame_rms": 1e-2,
        "frame_mask_iou": 0.99,
    },
}
LEAST = ("mask_iou_mean", "mask_iou_group", "mask_iou_p1", "embedding_cosine", "frame_mask_iou")


def test_what_is_promised_is_what_is_judged() -> None:
    """Who loosens a limit says so here."""
    assert {precision: vars(limits) for precision, limits in gate.LIMITS.items()} == LIMITS


def test_the_exam_judges_the_few_pixels_of_its_masks_less_and_all_else_alike() -> None:
    masks = ("mask_iou_mean", "mask_iou_group", "mask_iou_p1", "frame_mask_iou")
    found = {precision: vars(self_test_limits(precision)) for precision in PRECISIONS}
    assert {precision: [limits[name] for name in masks] for precision, limits in found.items()} == {
        "fp32": [0.995, 0.99, 0.9, 0.99],
        "fp16": [0.98, 0.97, 0.7, 0.97],
    }
    for precision, limits in found.items():
        assert {name: limits[name] for name in limits if name not in masks} == {
            name: value for name, value in LIMITS[precision].items() if name not in masks
        }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", LIMITS["fp32"])
def test_each_limit_is_judged_by_itself(name: str, precision: Precision) -> None:
    limits = LIMITS[precision]
    assert gate.find_violations(limits, precision) == []
    outside = limits[name] - 1e-6 if name in LEAST else limits[name] * 1.001
    (line,) = gate.find_violations({**limits, name: outside}, precision)
    assert line.startswith(f"{name} ")


def test_nan_is_no_pass() -> None:
    limits = {**vars(gate.LIMITS["fp16"])}
    assert gate.find_violations(limits, "fp16") == []
    for name in limits:
        assert gate.find_violations({**limits, name: float("nan")}, "fp16")
        kept = gate.result({**limits, name: float("nan")}, "fp16", against_onnx=False)
        assert name not in kept
        assert kept["passed"] == 0
