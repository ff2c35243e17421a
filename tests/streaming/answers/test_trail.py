"""Where the eye has been, and what that says about the thing it rests on."""

from __future__ import annotations

import numpy as np
import pytest

from sam_edge.streaming.answers.trail import KEPT, Trail
from sam_edge.streaming.gaze.filters.chain import Filtered
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.motion.motion import Motion

MS = 1_000_000


def look(t_ms: float, x_px: float, number: int | None = 1) -> Filtered:
    return Filtered(GazeSample(round(t_ms * MS), 0.5, 0.5), x_px, 60.0, "fixation", "hold", number)


def followed(step_px: float) -> Trail:
    """A second of an eye that moves so far every 10 ms."""
    trail = Trail()
    for number in range(100):
        trail = trail.then(look(number * 10, 100 + number * step_px))
    return trail


def test_a_thing_that_the_eye_follows_has_gone_with_it() -> None:
    trail = followed(2.0)
    assert trail.at(200 * MS) == (140, 60)
    motion = trail.carries(Motion(), 200 * MS, 500 * MS, 10.0, look=1)
    assert motion.carry_point(140, 60) == pytest.approx((200, 60))
    # And what the camera did is a part of it.
    pan = np.array([[1, 0, -30.0], [0, 1, 0], [0, 0, 1]])
    assert trail.carries(Motion(pan), 200 * MS, 500 * MS, 10.0, look=1).carry_point(140, 60) == pytest.approx(
        (200, 60)
    )


def test_an_eye_that_rests_says_nothing_more_than_the_camera() -> None:
    camera = Motion()
    assert followed(0.02).carries(camera, 200 * MS, 500 * MS, 10.0, look=1) is camera


@pytest.mark.parametrize(
    ("number", "from_ms", "to_ms"), [(2, 200, 500), (None, 200, 500), (1, -5, 500), (1, 200, 1100)]
)
def test_of_another_look_before_it_or_long_after_it_nothing_is_known(
    number: int | None, from_ms: int, to_ms: int
) -> None:
    camera = Motion()
    assert followed(2.0).carries(camera, from_ms * MS, to_ms * MS, 10.0, look=number) is camera


def test_a_new_look_begins_a_new_trail_and_a_blink_does_not() -> None:
    trail = followed(2.0)
    assert trail.then(look(1000, 5, None)) is trail
    assert trail.then(look(1010, 5, 2)) == Trail(2, (1010 * MS,), ((5, 60),))
    for number in range(10 * KEPT):
        trail = trail.then(look(2000 + number * 10, 7))
    assert len(trail.times_ns) == len(trail.points_px) == KEPT
