"""What may be shown as what is there now."""

from __future__ import annotations

import pytest

from sam_edge.streaming.answers.freshness import FreshnessConfig, freshness
from sam_edge.streaming.motion.motion import Motion


@pytest.mark.parametrize(
    ("age_ms", "is_same_frame", "motion", "wanted"),
    [
        (20, True, Motion(), "fresh"),
        (20, False, Motion(), "carried"),
        (501, True, Motion(), "stale"),
        (501, False, Motion(), "stale"),
        (20, False, Motion(is_known=False), "stale"),
        (20, False, Motion(inlier_ratio=0.3), "stale"),
        (20, False, Motion(residual_px=5.0), "stale"),
        # Nothing was carried, so nothing about the motion matters.
        (20, True, Motion(is_known=False), "fresh"),
    ],
)
def test_freshness(age_ms: float, is_same_frame: bool, motion: Motion, wanted: str) -> None:
    assert freshness(age_ms, is_same_frame, motion, (1280, 720), FreshnessConfig()) == wanted
