"""Chains know the way between any two of their frames, or say that they do not."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from sam_edge.streaming.motion.chain import MotionChain
from sam_edge.streaming.motion.flow import SmallFrame, small_frame
from sam_edge.streaming.motion.motion import Motion
from sam_edge.synthetic.scene import Scene

SCENE = Scene(seed=3, width=320, height=180, duration_s=2.0)
MIDDLE = (160.0, 90.0)
BLANK = np.zeros((180, 320, 3), np.uint8)


@cache
def small(index: int) -> SmallFrame:
    return small_frame(SCENE.frame(index).image, SCENE.capture_ns(index))


def blank(index: int) -> SmallFrame:
    return small_frame(BLANK, SCENE.capture_ns(index))


def chain_of(*frames: SmallFrame, length: int = 64) -> MotionChain:
    chain = MotionChain(length=length)
    for frame in frames:
        chain = chain.extended(frame)
    return chain


def true_between(one: int, two: int) -> Motion:
    return Motion(np.linalg.inv(SCENE.frame(two).to_first) @ SCENE.frame(one).to_first)


@pytest.mark.parametrize(("one", "two"), [(30, 31), (30, 45), (45, 30), (40, 33), (38, 38)])
def test_the_way_between_any_two_frames_is_the_true_one(one: int, two: int) -> None:
    chain = chain_of(*map(small, range(30, 46)))
    motion = chain.between(SCENE.capture_ns(one), SCENE.capture_ns(two))
    assert motion.is_known
    assert motion.carry_point(*MIDDLE) == pytest.approx(true_between(one, two).carry_point(*MIDDLE), abs=1.0)


def test_a_chain_is_a_value() -> None:
    chain = chain_of(small(30), small(31))
    longer = chain.extended(small(32))
    assert not chain.between(small(30).capture_ns, small(32).capture_ns).is_known
    assert longer.between(small(30).capture_ns, small(32).capture_ns).is_known
    assert chain.extended(small(31)) is chain


def test_frames_that_are_not_in_it_are_unknown() -> None:
    chain = chain_of(*map(small, range(30, 36)), length=3)
    times = [SCENE.capture_ns(index) for index in range(30, 36)]
    assert chain.between(times[3], times[5]).is_known
    for one, two in ((times[2], times[5]), (times[5], times[0]), (times[3] + 1, times[5]), (7, 7)):
        assert not chain.between(one, two).is_known
    assert not MotionChain().between(0, 1).is_known


def test_a_cut_divides_it() -> None:
    other = Scene(seed=8, width=320, height=180, duration_s=2.0)
    after = [small_frame(other.frame(index).image, SCENE.capture_ns(index)) for index in (32, 33)]
    chain = chain_of(small(30), small(31), *after)
    times = [SCENE.capture_ns(index) for index in range(30, 34)]
    assert chain.between(times[0], times[1]).is_known
    assert chain.between(times[2], times[3]).is_known
    assert not chain.between(times[0], times[3]).is_known
    assert not chain.between(times[1], times[2]).is_known


def test_a_broken_frame_is_bridged() -> None:
    chain = chain_of(small(30), blank(31), small(32), small(33))
    times = [SCENE.capture_ns(index) for index in range(30, 34)]
    found = chain.between(times[0], times[3])
    assert found.is_known
    assert found.carry_point(*MIDDLE) == pytest.approx(true_between(30, 33).carry_point(*MIDDLE), abs=0.6)
    assert not chain.between(times[0], times[1]).is_known
    assert not chain.between(times[1], times[3]).is_known


def test_other_means_fill_in_where_nothing_is_seen() -> None:
    turned = Motion(np.array([[1, 0, 5.0], [0, 1, 2], [0, 0, 1]]))
    chain = chain_of(small(30)).extended(blank(31), turned).extended(blank(32), turned)
    found = chain.between(SCENE.capture_ns(30), SCENE.capture_ns(32))
    assert found.is_known
    assert found.carry_point(1, 1) == (11, 5)


def test_another_size_or_an_earlier_time_begins_a_new_one() -> None:
    chain = chain_of(small(30), small(31))
    image = np.asarray(cv2.resize(SCENE.frame(32).image, (640, 360)), np.uint8)
    larger = small_frame(image, SCENE.capture_ns(32))
    assert len(chain.extended(larger).links) == 1
    back = chain.extended(small(20)).extended(small(21))
    assert not back.between(SCENE.capture_ns(30), SCENE.capture_ns(21)).is_known
    assert back.between(SCENE.capture_ns(20), SCENE.capture_ns(21)).is_known
