"""The motion of a masked thing is found, whether it moves, stands still or the camera goes along with it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sam_edge.geometry import InputSize
from sam_edge.masks import Masks
from sam_edge.streaming.motion.flow import SmallFrame, small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.motion.object_motion import object_motion

WH = (640, 360)
VIEW = InputSize(long_side=512, multiple=32, square=False).view(WH)


def textured(seed: int) -> NDArray[np.uint8]:
    """Smooth random grey, as photographs are."""
    blocks = np.random.default_rng(seed).integers(0, 256, (WH[1] // 20, WH[0] // 20), dtype=np.uint8)
    return np.asarray(cv2.resize(blocks, WH, interpolation=cv2.INTER_CUBIC), np.uint8)


def frame(object_at: tuple[int, int], background_at: tuple[int, int] = (0, 0)) -> SmallFrame:
    """A block of 96 x 96 pixels before a background; both are shifted by whole pixels."""
    image = np.roll(textured(1), background_at[::-1], axis=(0, 1))
    x, y = object_at
    image[y : y + 96, x : x + 96] = textured(2)[:96, :96]
    return small_frame(image, 0)


def mask(x_px: int, y_px: int, side_px: int = 96) -> Masks:
    logits = np.full((72, 128), -5, np.float32)
    logits[y_px // 5 : (y_px + side_px) // 5, x_px // 5 : (x_px + side_px) // 5] = 5
    return Masks(logits[None], np.array([0.9], np.float32), VIEW)


@pytest.mark.parametrize("moved", [(12, -6), (0, 0), (-8, 4)])
@pytest.mark.parametrize("camera", [(16, 0), (0, 0)])
def test_an_object_is_followed_whatever_the_background_does(
    moved: tuple[int, int], camera: tuple[int, int]
) -> None:
    background = Motion(np.array([[1, 0, camera[0]], [0, 1, camera[1]], [0, 0, 1.0]]))
    found = object_motion(
        frame((200, 100)), frame((200 + moved[0], 100 + moved[1]), camera), mask(200, 100), background
    )
    assert found.carry_point(248, 148) == pytest.approx((248 + moved[0], 148 + moved[1]), abs=1.5)


def test_a_thing_without_corners_moves_as_the_camera_or_with_it() -> None:
    ramp = np.tile((np.arange(WH[0]) // 3).astype(np.uint8), (WH[1], 1))
    camera = Motion(np.array([[1, 0, 15.0], [0, 1, 0], [0, 0, 1.0]]))
    before = small_frame(ramp, 0)
    moved = small_frame(np.roll(ramp, 15, axis=1), 0)
    assert object_motion(before, moved, mask(200, 100), camera).carry_point(5, 5) == (20, 5)
    assert object_motion(before, before, mask(200, 100), camera).carry_point(5, 5) == (5, 5)


def test_where_nothing_can_be_compared_the_cameras_motion_is_the_answer() -> None:
    camera = Motion(np.array([[1, 0, 7.0], [0, 1, 0], [0, 0, 1.0]]))
    empty = Masks(np.full((1, 72, 128), -5, np.float32), np.array([0.9], np.float32), VIEW)
    assert object_motion(frame((200, 100)), frame((200, 100)), empty, camera) is camera
    other = small_frame(np.zeros((200, 200), np.uint8), 0)
    assert object_motion(frame((200, 100)), other, mask(200, 100), camera) is camera


def test_a_thing_without_texture_moves_as_the_frame_or_the_camera_does() -> None:
    plain = small_frame(np.full((WH[1], WH[0]), 90, np.uint8), 0)
    camera = Motion(np.array([[1, 0, 7.0], [0, 1, 0], [0, 0, 1.0]]))
    assert object_motion(plain, plain, mask(200, 100), camera).carry_point(5, 5) in ((5, 5), (12, 5))
