"""The gate's limits, one by one: what they are, and that each of them is judged."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.bundle.manifest import PRECISIONS, Precision
from sam_edge.fidelity import result
from sam_edge.fidelity.result import FidelityResult
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
    assert {precision: vars(limits) for precision, limits in result.LIMITS.items()} == LIMITS


def test_the_self_test_judges_the_few_pixels_of_its_masks_less_and_all_else_alike() -> None:
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
    values, limits = LIMITS[precision], result.LIMITS[precision]
    assert FidelityResult.from_document(values).violations(limits) == []
    outside = values[name] - 1e-6 if name in LEAST else values[name] * 1.001
    (line,) = FidelityResult.from_document({**values, name: outside}).violations(limits)
    assert line.startswith(f"{name} ")


def test_what_was_not_measured_does_not_pass() -> None:
    limits = result.LIMITS["fp16"]
    assert FidelityResult.from_document(LIMITS["fp16"]).judged(limits, against_onnx=False).passed
    assert len(FidelityResult().violations(limits)) == len(LIMITS["fp16"])
    for name in LIMITS["fp16"]:
        found = FidelityResult.from_document({**LIMITS["fp16"], name: float("nan")})
        assert found.violations(limits)
        document = found.judged(limits, against_onnx=False).to_document()
        assert name not in document
        assert document["passed"] is False


@given(
    st.builds(
        FidelityResult,
        mask_iou_mean=st.floats(),
        frame_rms=st.floats(),
        masks=st.integers(0, 10**6),
        against_onnx=st.booleans(),
        passed=st.sampled_from([None, True, False]),
    )
)
def test_documents_keep_what_is_finite(found: FidelityResult) -> None:
    document = json.loads(json.dumps(found.to_document(), allow_nan=False))
    again = FidelityResult.from_document(document | {"of a later version": 1.0})
    assert again.to_document() == document
    assert (again.masks, again.against_onnx, again.passed) == (found.masks, found.against_onnx, found.passed)
    for value, kept in ((found.mask_iou_mean, again.mask_iou_mean), (found.frame_rms, again.frame_rms)):
        assert kept == value if math.isfinite(value) else math.isnan(kept)
