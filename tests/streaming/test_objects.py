"""Boxes and points of an object tracker become prompts, whatever they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.geometry import InputSize
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.objects import MAX_OBJECTS, TrackedBox, admit, decode_objects
from tests.disc_model import disc_segmenter

WH = (256, 128)
VIEW = InputSize(long_side=256, multiple=32, square=False).view(WH)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


def box(object_id: int, *corners: float, confidence: float = 1.0) -> TrackedBox:
    x0, y0, x1, y1 = corners
    return TrackedBox(object_id, 0, (x0, y0, x1, y1), confidence=confidence)


def shift(x_px: float, y_px: float) -> Motion:
    return Motion(np.array([[1, 0, x_px], [0, 1, y_px], [0, 0, 1.0]]))


def test_boxes_are_carried_to_the_embedding_and_cut_to_its_view() -> None:
    admitted = admit([box(1, 10, 20, 50, 60), box(2, 200, 20, 250, 60)], VIEW, shift(20, -5))
    assert [one.object_id for one in admitted.boxes] == [1, 2]
    assert admitted.boxes[0].box_px == pytest.approx((30, 15, 70, 55))
    assert admitted.boxes[1].box_px == pytest.approx((220, 15, 256, 55))
    assert (admitted.clipped, admitted.dropped) == (1, 0)


def test_what_has_left_the_view_is_dropped_and_counted() -> None:
    gone = [box(1, 300, 20, 350, 60), TrackedBox(2, 0, point_px=(-3, 4)), box(3, 10, 10, 20, 20)]
    admitted = admit(gone, VIEW, Motion())
    assert [one.object_id for one in admitted.boxes] == [3]
    assert (admitted.outside, admitted.dropped) == (2, 2)


def test_the_most_confident_stay_in_their_order() -> None:
    many = [box(k, 10, 10, 20, 20, confidence=k / 20) for k in range(12)]
    admitted = admit(many, VIEW, Motion(), max_objects=3, min_confidence=0.2)
    assert [one.object_id for one in admitted.boxes] == [9, 10, 11]
    assert (admitted.unsure, admitted.surplus) == (4, 5)


def test_an_object_is_decoded_once() -> None:
    admitted = admit([box(1, 10, 10, 20, 20), box(1, 50, 10, 60, 20)], VIEW, Motion())
    assert [one.box_px for one in admitted.boxes] == [(10, 10, 20, 20)]
    assert admitted.invalid == 1


any_number = st.floats(allow_nan=True, allow_infinity=True)
any_box = st.builds(
    TrackedBox,
    st.integers(0, 5),
    st.integers(),
    st.none() | st.tuples(*[any_number | st.floats(-50, 300)] * 4),
    st.none() | st.tuples(*[any_number | st.floats(-50, 300)] * 2),
    any_number | st.floats(0, 1),
)


@given(st.lists(any_box, max_size=12), st.floats(-300, 300), st.floats(0, 9))
def test_whatever_comes_is_admitted_or_counted(boxes: list[TrackedBox], x_px: float, tilt: float) -> None:
    """Behind the camera, at infinity, not a number: nothing raises, and what is left can be decoded."""
    motion = Motion(np.array([[1, 0, x_px], [0, 1, 0], [-tilt / 100, 0, 1.0]]))
    admitted = admit(boxes, VIEW, motion)
    assert len(admitted.boxes) + admitted.dropped == len(boxes)
    assert len(admitted.boxes) <= MAX_OBJECTS
    for one in admitted.boxes:
        assert one.box_px is not None or one.point_px is not None
        if one.box_px is not None:
            x0, y0, x1, y1 = one.box_px
            assert 0 <= x0 < x1 <= WH[0]
            assert 0 <= y0 < y1 <= WH[1]


def test_all_objects_are_decoded_on_one_embedding(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(np.zeros((WH[1], WH[0], 3), np.uint8))
    objects = [TrackedBox(7, 0, point_px=(60, 60)), box(8, 170, 30, 200, 80)]
    at_point, at_box = decode_objects(segmenter, embedding, admit(objects, VIEW, Motion()).boxes)
    assert at_point.binary[0, 60, 60]
    assert not at_point.binary[0, 60, 170]
    assert at_box.binary[0, 30, 170]
    assert decode_objects(segmenter, embedding, []) == []


def test_too_many_objects_are_refused(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(np.zeros((WH[1], WH[0], 3), np.uint8))
    with pytest.raises(InputError):
        decode_objects(segmenter, embedding, [box(k, 10, 10, 20, 20) for k in range(MAX_OBJECTS + 1)])
