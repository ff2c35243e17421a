"""What changed besides the camera's motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sam_edge.streaming.motion.change import changed_share
from sam_edge.streaming.motion.flow import small_frame
from sam_edge.streaming.motion.motion import Motion


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (45, 80, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (1280, 720), interpolation=cv2.INTER_CUBIC), np.uint8)


def moved(image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(cv2.warpPerspective(image, matrix, (1280, 720)), np.uint8)


def test_a_scene_that_rests_has_not_changed_whatever_the_camera_does(image: NDArray[np.uint8]) -> None:
    before = small_frame(image, 0)
    assert changed_share(before, before, Motion()) == 0
    pan = np.array([[1, 0, 37.0], [0, 1, -12.0], [0, 0, 1]])
    after = small_frame(moved(image, pan), 1)
    assert changed_share(before, after, Motion(pan)) < 0.01
    assert changed_share(before, after, Motion()) > 0.1


def test_an_object_that_moves_changes_as_much_as_it_covers(image: NDArray[np.uint8]) -> None:
    covered = image.copy()
    covered[200:300, 400:560] = 255 - covered[200:300, 400:560] // 4
    share = changed_share(small_frame(image, 0), small_frame(covered, 1), Motion())
    assert share == pytest.approx(100 * 160 / (1280 * 720), rel=0.25)


def test_frames_of_two_sizes_have_nothing_in_common(image: NDArray[np.uint8]) -> None:
    assert changed_share(small_frame(image, 0), small_frame(image[:360], 1), Motion()) == 1.0
