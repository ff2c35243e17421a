"""The motion of what the eye follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.motion.pursuit import pursued

CAMERA = Motion(np.array([[1.02, 0.01, -40], [-0.01, 1.02, 5], [0, 0, 1]]), 0.8, 0.2)
place = st.floats(0, 640)


@given(place, place, place, place)
def test_what_moves_by_itself_ends_at_the_gaze(x: float, y: float, u: float, v: float) -> None:
    found = pursued(CAMERA, (x, y), (u, v), least_px=20)
    carried = CAMERA.carry_point(x, y)
    if np.hypot(u - carried[0], v - carried[1]) > 20:
        assert found.carry_point(x, y) == pytest.approx((u, v))
        assert (found.residual_px, found.inlier_ratio, found.is_known) == (0.2, 0.8, True)
    else:
        assert found is CAMERA


def test_a_point_behind_the_camera_changes_nothing() -> None:
    behind = Motion(np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]]))
    assert pursued(behind, (200, 0), (10, 10), least_px=5) is behind
