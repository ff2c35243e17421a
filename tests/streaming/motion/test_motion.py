"""Motions follow one another, turn round, and carry points and boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.motion.motion import Motion

small = st.floats(-0.1, 0.1)
far = st.floats(-200, 200)
tilt = st.floats(-1e-4, 1e-4)


@st.composite
def motions(draw: st.DrawFn) -> Motion:
    """What a camera does between two frames."""
    matrix = np.eye(3)
    matrix[:2, :2] += [[draw(small), draw(small)], [draw(small), draw(small)]]
    matrix[:2, 2] = draw(far), draw(far)
    matrix[2, :2] = draw(tilt), draw(tilt)
    return Motion(matrix, draw(st.floats(0, 1)), draw(st.floats(0, 5)), draw(st.booleans()))


@given(motions(), motions(), far, far)
def test_one_motion_then_another(one: Motion, two: Motion, x: float, y: float) -> None:
    both = one.then(two)
    assert both.carry_point(x, y) == pytest.approx(two.carry_point(*one.carry_point(x, y)), abs=1e-6)
    assert both.inlier_ratio == min(one.inlier_ratio, two.inlier_ratio)
    assert both.residual_px >= max(one.residual_px, two.residual_px)
    assert both.is_known == (one.is_known and two.is_known)


@given(motions(), far, far)
def test_there_and_back(motion: Motion, x: float, y: float) -> None:
    assert motion.inverse().carry_point(*motion.carry_point(x, y)) == pytest.approx((x, y), abs=1e-6)


@given(motions(), far, far, st.floats(1, 80), st.floats(1, 80))
def test_a_box_is_the_box_of_its_ellipse(motion: Motion, x: float, y: float, wide: float, tall: float) -> None:
    found = motion.carry_box((x - wide, y - tall, x + wide, y + tall))
    angles = np.linspace(0, 2 * np.pi, 720)
    moved = np.array(
        [motion.carry_point(x + wide * math.cos(a), y + tall * math.sin(a)) for a in angles.tolist()]
    )
    assert found == pytest.approx((*moved.min(axis=0), *moved.max(axis=0)), abs=0.03 * max(wide, tall))


def test_a_box_that_shifts_and_grows_is_exact() -> None:
    motion = Motion(np.array([[2, 0, 10.0], [0, 3, -5], [0, 0, 1]]))
    assert motion.carry_box((10, 20, 30, 50)) == pytest.approx((30, 55, 70, 145))


def test_what_is_behind_the_camera_is_infinitely_far() -> None:
    behind = Motion(np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]]))
    assert behind.carry_point(200, 0) == (math.inf, math.inf)
    assert behind.carry_point(100, 0) == (math.inf, math.inf)
    assert all(map(math.isinf, behind.carry_box((190, 0, 210, 10))))
    assert behind.carry_point(50, 0) == (100, 0)


def test_a_matrix_without_an_inverse_is_no_known_motion() -> None:
    back = Motion(np.zeros((3, 3))).inverse()
    assert not back.is_known
    assert back.carry_point(3, 4) == (3, 4)
