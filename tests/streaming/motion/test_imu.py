"""Rotations that a gyroscope measured, as motions of the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam_edge.streaming.motion.imu import Gyroscope
from sam_edge.streaming.motion.motion import Motion
from sam_edge.synthetic.camera import head_motion, rotation

FOCAL_PX, CENTRE_PX = 800.0, (639.5, 359.5)
STEP_NS = 5_000_000
START_NS = 1_700_000_000_000_000_000
rates = st.floats(-3, 3)


def gyroscope(samples: NDArray[np.float64], start_ns: int = START_NS) -> Gyroscope:
    """Fed in parts, as samples arrive."""
    gyro = Gyroscope(FOCAL_PX, CENTRE_PX)
    times = start_ns + STEP_NS * np.arange(len(samples))
    for begin in range(0, len(samples), 7):
        gyro = gyro.extended(times[begin : begin + 7], samples[begin : begin + 7])
    return gyro


def image_of(turn: NDArray[np.float64]) -> Motion:
    """Motion of far things for a turn from the later axes to the earlier ones, ray by ray."""
    camera = np.array([[FOCAL_PX, 0, CENTRE_PX[0]], [0, FOCAL_PX, CENTRE_PX[1]], [0, 0, 1]])
    return Motion(camera @ np.linalg.inv(turn) @ np.linalg.inv(camera))


@given(st.tuples(rates, rates, rates), st.integers(0, 400_000_000), st.integers(1, 400_000_000))
def test_a_steady_turn_is_its_rotation(rate: tuple[float, float, float], after_ns: int, lasts_ns: int) -> None:
    gyro = gyroscope(np.tile(np.array(rate), (170, 1)))
    found = gyro.between(START_NS + after_ns, START_NS + after_ns + lasts_ns)
    true = image_of(np.asarray(cv2.Rodrigues(np.array(rate) * lasts_ns / 1e9)[0], np.float64))
    assert found.is_known
    assert np.allclose(found.matrix, true.matrix, atol=1e-5)


def test_a_head_that_turns_right_moves_the_image_left() -> None:
    gyro = gyroscope(np.tile([0.0, 0.5, 0.0], (40, 1)))
    x, y = gyro.between(START_NS, START_NS + 100_000_000).carry_point(*CENTRE_PX)
    assert x == pytest.approx(CENTRE_PX[0] - FOCAL_PX * np.tan(0.05))
    assert y == pytest.approx(CENTRE_PX[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_wearers_head_is_followed(seed: int) -> None:
    head = head_motion(np.random.default_rng(seed), 3.0)
    turns = [rotation(*head.angles_deg(index * STEP_NS / 1e9)) for index in range(601)]
    samples = []
    for index in range(600):
        early, late = (rotation(*head.angles_deg((index + d) * STEP_NS / 1e9)) for d in (-0.5, 0.5))
        samples.append(cv2.Rodrigues(early.T @ late)[0][:, 0] / (STEP_NS / 1e9))
    gyro = gyroscope(np.array(samples))
    for one, two in ((10, 110), (300, 420), (420, 300), (200, 599)):
        found = gyro.between(START_NS + one * STEP_NS, START_NS + two * STEP_NS)
        true = image_of(turns[one].T @ turns[two])
        assert found.carry_point(*CENTRE_PX) == pytest.approx(true.carry_point(*CENTRE_PX), abs=0.2)


@given(st.integers(0, 600), st.integers(0, 600), st.integers(0, 600))
def test_turns_follow_one_another(one: int, two: int, three: int) -> None:
    samples = np.random.default_rng(4).uniform(-1, 1, (140, 3))
    gyro = gyroscope(samples)
    a, b, c = (START_NS + ms * 1_000_000 for ms in (one, two, three))
    both, straight = gyro.between(a, b).then(gyro.between(b, c)), gyro.between(a, c)
    # Where a sample lies between the moments, the parts are averaged otherwise than the whole.
    assert both.carry_point(*CENTRE_PX) == pytest.approx(straight.carry_point(*CENTRE_PX), abs=0.5)


def test_gaps_and_what_was_never_measured_are_unknown() -> None:
    gyro = gyroscope(np.zeros((20, 3)))
    late = gyro.extended(START_NS + 300_000_000 + STEP_NS * np.arange(10), np.zeros((10, 3)))
    assert gyro.between(START_NS, START_NS + 95_000_000).is_known
    assert not gyro.between(START_NS, START_NS + 200_000_000).is_known
    assert not gyro.between(START_NS - 200_000_000, START_NS).is_known
    assert not late.between(START_NS, START_NS + 320_000_000).is_known
    assert not late.between(START_NS + 150_000_000, START_NS + 250_000_000).is_known
    assert late.between(START_NS + 300_000_000, START_NS + 340_000_000).is_known
    assert not Gyroscope(FOCAL_PX, CENTRE_PX).between(0, 1).is_known


def test_bad_samples_are_left_out_and_the_past_is_bounded() -> None:
    gyro = gyroscope(np.zeros((10, 3)))
    bad = gyro.extended([START_NS + 50_000_000, START_NS + 20_000_000], [[0, np.nan, 0], [1.0, 1, 1]])
    assert np.array_equal(bad.t_ns, gyro.t_ns)
    assert len(gyroscope(np.zeros((3000, 3))).t_ns) == 800
    back = gyro.extended(START_NS - 10**12, [0.0, 0, 0])
    assert back.t_ns.tolist() == [START_NS - 10**12]
