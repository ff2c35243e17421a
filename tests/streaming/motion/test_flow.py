"""Motion that is measured on frames is the true one, or said to be unknown."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam_edge.streaming.motion.flow import motion_between, small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.synthetic.scene import Scene, SceneFrame

WIDTH, HEIGHT = 640, 360


@cache
def frames(seed: int) -> tuple[SceneFrame, ...]:
    """Most of a second; the head turns in it."""
    scene = Scene(seed=seed, width=WIDTH, height=HEIGHT, duration_s=3.0)
    return tuple(scene.frame(index) for index in range(40, 64, 3))


def truth(before: SceneFrame, after: SceneFrame) -> Motion:
    return Motion(np.linalg.inv(after.to_first) @ before.to_first)


def error_px(found: Motion, true: Motion) -> float:
    """Median distance over the frame."""
    ys, xs = np.mgrid[10 : HEIGHT - 10 : 12j, 10 : WIDTH - 10 : 20j]
    points = np.stack([xs, ys], axis=-1).reshape(-1, 1, 2)
    one, two = (cv2.perspectiveTransform(points, motion.matrix) for motion in (found, true))
    return float(np.median(np.linalg.norm(one - two, axis=-1)))


@pytest.mark.parametrize("seed", [1, 2, 3, 5])
def test_the_motion_of_a_scene_is_found_while_objects_move_in_it(seed: int) -> None:
    small = [small_frame(frame.image, frame.capture_ns) for frame in frames(seed)]
    for index in range(len(small) - 1):
        found = motion_between(small[index], small[index + 1])
        true = truth(frames(seed)[index], frames(seed)[index + 1])
        assert found.is_known
        assert found.inlier_ratio > 0.5
        assert error_px(found, true) < 0.5
        assert found.residual_px < 0.6


@pytest.mark.parametrize(
    "size", [(1280, 720), (1920, 1080), (854, 480), (320, 240), (96, 54), (2048, 1024), (333, 777)]
)
def test_pixels_of_every_frame_size_are_full_pixels(size: tuple[int, int]) -> None:
    scene_wh = max(256, size[0]), max(256, size[1])
    larger = cv2.resize(frames(1)[0].image, scene_wh, interpolation=cv2.INTER_CUBIC)
    image = np.asarray(larger, np.uint8)[: size[1], : size[0]]
    x, y = size[0] * 0.03, -size[1] * 0.02
    true = Motion(np.array([[1.01, 0.01, x], [-0.01, 1.01, y], [0, 0, 1.0]]))
    after = cv2.warpPerspective(image, true.matrix, size, borderMode=cv2.BORDER_REFLECT)
    found = motion_between(small_frame(image, 0), small_frame(np.asarray(after, np.uint8), 1))
    assert found.is_known
    middle = (size[0] / 2, size[1] / 2)
    assert found.carry_point(*middle) == pytest.approx(true.carry_point(*middle), abs=max(size) / 1000)


def test_a_prior_helps_where_the_motion_is_beyond_the_search() -> None:
    scene = frames(1)[0]
    true = Motion(np.array([[1, 0, 260.0], [0, 1, 30], [0, 0, 1]]))
    after = cv2.warpPerspective(scene.image, true.matrix, (WIDTH, HEIGHT))
    one, two = small_frame(scene.image, 0), small_frame(np.asarray(after, np.uint8), 1)
    near = replace(true, matrix=true.matrix @ np.array([[1, 0, 9], [0, 1, -5], [0, 0, 1.0]]))
    found = motion_between(one, two, near)
    assert found.is_known
    assert error_px(found, true) < 0.5
    assert not motion_between(one, two).is_known


def test_a_wrong_prior_does_no_harm() -> None:
    one, two = frames(2)[:2]
    wild = Motion(np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]]))
    away = Motion(np.array([[1, 0, 150.0], [0, 1, 0], [0, 0, 1]]))
    for prior in (wild, away, Motion(np.zeros((3, 3))), Motion(np.full((3, 3), np.nan)), Motion.unknown()):
        found = motion_between(small_frame(one.image, 0), small_frame(two.image, 1), prior)
        assert found.is_known
        assert error_px(found, truth(one, two)) < 0.5


def noise(seed: int, deviation: float) -> NDArray[np.uint8]:
    values = 128 + deviation * np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(frames(1)[0].image, frames(2)[0].image, id="cut"),
        pytest.param(frames(1)[0].image, np.zeros((HEIGHT, WIDTH, 3), np.uint8), id="dark"),
        pytest.param(np.zeros((HEIGHT, WIDTH, 3), np.uint8), frames(1)[0].image, id="light"),
        pytest.param(frames(1)[0].image, cv2.GaussianBlur(frames(1)[1].image, (0, 0), 25), id="blur"),
        pytest.param(noise(0, 2), noise(1, 2), id="noise"),
        pytest.param(noise(0, 30), noise(1, 30), id="much noise"),
        pytest.param(frames(1)[0].image, frames(1)[0].image[:, ::-1], id="mirrored"),
        pytest.param(frames(1)[0].image, frames(1)[0].image[:-40], id="another size"),
        pytest.param(np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5, 3), np.uint8), id="tiny"),
        pytest.param(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 3), np.uint8), id="one pixel"),
        pytest.param(np.zeros((2, 2000, 3), np.uint8), np.zeros((2, 2000, 3), np.uint8), id="a line"),
    ],
)
def test_what_cannot_be_measured_is_unknown(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> None:
    found = motion_between(small_frame(before, 0), small_frame(np.ascontiguousarray(after), 1))
    assert not found.is_known
    assert np.array_equal(found.matrix, np.eye(3))


@given(
    dx=st.floats(-60, 60), dy=st.floats(-40, 40), degrees=st.floats(-4, 4), zoom=st.floats(0.95, 1.05),
    tilt=st.floats(-5e-5, 5e-5),
)  # fmt: skip
@settings(max_examples=25)
def test_any_motion_of_a_camera_is_found(
    dx: float, dy: float, degrees: float, zoom: float, tilt: float
) -> None:
    image = frames(3)[0].image
    turn = np.vstack([cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, zoom), [0, 0, 1]])
    true = Motion(np.array([[1, 0, dx], [0, 1, dy], [tilt, -tilt, 1]]) @ turn)
    after = cv2.warpPerspective(image, true.matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    found = motion_between(small_frame(image, 0), small_frame(np.asarray(after, np.uint8), 1))
    assert found.is_known
    assert error_px(found, true) < 0.6


def test_grey_frames_will_do() -> None:
    one, two = frames(5)[:2]
    before, after = (small_frame(np.ascontiguousarray(frame.image[..., 1]), 0) for frame in (one, two))
    assert np.array_equal(before.grey, small_frame(one.image, 0).grey)
    assert motion_between(before, after).is_known
