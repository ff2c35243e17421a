"""An object is followed by its own mask until it is lost, and then it is said to be lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import InputSize
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.streaming.follow import FollowConfig, Followed, attempt, begin, judge
from sam_edge.streaming.motion.motion import Motion
from tests.disc_model import disc_segmenter

VIEW = InputSize(long_side=256, multiple=32, square=False).view((512, 256))
"""Logits of (32, 64), each 8 x 8 pixels of the frame."""
CONFIG = FollowConfig(patience=3)


def disc(x_px: float, y_px: float, radius_px: float, iou: float = 0.9) -> Masks:
    ys, xs = (np.mgrid[0:32, 0:64] + 0.5) * 8
    logits = (radius_px - np.hypot(xs - x_px, ys - y_px)).astype(np.float32)
    return Masks(logits[None], np.array([iou], np.float32), VIEW)


def seen(boundary_px: float = 256) -> Embedding:
    """Left of the boundary one thing, right of it another."""
    features = np.zeros((1, 2, 8, 16), np.float32)
    columns = (np.arange(16) + 0.5) * 32
    features[0, 0, :, columns < boundary_px] = 1
    features[0, 1, :, columns >= boundary_px] = 1
    return Embedding({"embedding": features}, VIEW, 0, "none")


def shift(x_px: float, y_px: float = 0) -> Motion:
    return Motion(np.array([[1, 0, x_px], [0, 1, y_px], [0, 0, 1.0]]))


def go_on(followed: Followed, answer: Masks, embedding: Embedding, motion: Motion | None = None) -> Followed:
    motion = motion or Motion()
    tried = attempt(followed, motion, takes_masks=True, config=CONFIG)
    assert tried is not None
    return judge(followed, tried, answer, embedding, CONFIG)


def test_the_prompt_is_the_carried_masks_box_middle_and_logits() -> None:
    followed = begin(7, disc(100, 100, 40), seen())
    tried = attempt(followed, shift(40, 16), takes_masks=True, config=CONFIG)
    assert tried is not None
    prompt = tried.prompt
    assert prompt.points_px[0] == pytest.approx((140, 116), abs=8)
    assert prompt.box_px == pytest.approx((100 - 8, 76 - 8, 180 + 8, 156 + 8), abs=8)
    assert prompt.mask_logits is not None
    assert np.abs(prompt.mask_logits).max() <= 8
    assert tried.carried.binary[0, 116, 140]
    without = attempt(followed, shift(40), takes_masks=False, config=CONFIG)
    assert without is not None
    assert without.prompt.mask_logits is None


def test_an_object_that_moves_on_is_followed() -> None:
    followed = begin(7, disc(60, 100, 40), seen())
    for x_px in (80, 100, 120):
        followed = go_on(followed, disc(x_px, 100, 40), seen(), shift(20))
        assert (followed.status, followed.failures, followed.reason) == ("followed", 0, "")
        assert followed.masks.binary[0, 100, x_px]
    assert followed.object_id == 7


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (disc(100, 100, 40, iou=0.2), "doubtful"),
        (disc(100, 100, 40, iou=float("nan")), "doubtful"),
        (disc(400, 100, 40), "unlike"),
        (disc(100, 100, 80), "size"),
        (disc(100, 100, -1), "left"),
    ],
)
def test_answers_that_are_not_the_object_lose_it_after_some(answer: Masks, reason: str) -> None:
    followed = begin(7, disc(100, 100, 40), seen())
    for status in ("unsure", "unsure", "lost"):
        followed = go_on(followed, answer, seen())
        assert (followed.status, followed.reason) == (status, reason)
        # The mask before stays in force.
        assert followed.masks.binary[0, 100, 100]
        assert not followed.masks.binary[0, 100, 400]


def test_where_the_encoder_shows_no_image_looks_do_not_count() -> None:
    blind = Embedding({"embedding": np.zeros((1, 20, 4), np.float32)}, VIEW, 0, "none")
    followed = go_on(begin(7, disc(100, 100, 40), blind), disc(120, 100, 40), blind)
    assert (followed.status, followed.likeness) == ("followed", 1)


def test_an_answer_that_counts_again_ends_the_doubt() -> None:
    followed = begin(7, disc(100, 100, 40), seen())
    for iou, failures in ((0.2, 1), (0.2, 2), (0.9, 0), (0.2, 1)):
        followed = go_on(followed, disc(100, 100, 40, iou=iou), seen())
        assert followed.failures == failures
    assert followed.status == "unsure"


def test_of_three_answers_the_one_that_resembles_the_object_is_taken() -> None:
    followed = begin(7, disc(100, 100, 40), seen())
    planes = [disc(x, 100, r).logits[0] for x, r in ((100, 90), (100, 42), (300, 40))]
    three = Masks(np.stack(planes), np.array([0.9, 0.8, 0.85], np.float32), VIEW)
    followed = go_on(followed, three, seen())
    assert followed.status == "followed"
    assert followed.masks.predicted_iou[0] == pytest.approx(0.8)


def test_a_mask_goes_into_the_view_that_is_decoded() -> None:
    window = InputSize(long_side=256, multiple=32, square=False).view((512, 256), (0, 0, 256, 128))
    followed = begin(7, disc(100, 60, 40), seen())
    tried = attempt(followed, shift(20), takes_masks=True, view=window, config=CONFIG)
    assert tried is not None
    assert tried.carried.view == window
    assert tried.prompt.points_px[0] == pytest.approx((120, 60), abs=8)
    assert tried.carried.binary[0, 60, 120]
    assert attempt(followed, shift(300), takes_masks=True, view=window, config=CONFIG) is None


@pytest.mark.parametrize("motion", [shift(-400), shift(0, 300), Motion(np.diag([0.01, 0.01, 1.0]))])
def test_an_object_that_leaves_the_view_is_lost_at_once(motion: Motion) -> None:
    followed = begin(7, disc(100, 100, 40), seen())
    assert attempt(followed, motion, takes_masks=True, config=CONFIG) is None
    followed = judge(followed, None, None, seen(), CONFIG)
    assert (followed.status, followed.reason) == ("lost", "left")


def test_an_empty_mask_cannot_be_followed() -> None:
    with pytest.raises(InputError):
        begin(7, disc(100, 100, -1), seen())


@given(st.floats(-600, 600), st.floats(-300, 300), st.floats(0.2, 4))
def test_wherever_an_object_goes_the_prompt_can_be_answered(x_px: float, y_px: float, zoom: float) -> None:
    motion = Motion(np.array([[zoom, 0, x_px], [0, zoom, y_px], [0, 0, 1.0]]))
    tried = attempt(begin(7, disc(100, 100, 40), seen()), motion, takes_masks=True, config=CONFIG)
    if tried is not None:
        tried.prompt.check_inside(VIEW)


def test_a_model_answers_the_prompts(tmp_path: Path) -> None:
    segmenter = disc_segmenter(tmp_path)
    embedding = segmenter.encode(np.zeros((128, 256, 3), np.uint8))
    first = segmenter.decode(embedding, Prompt.points([(100, 60)])).best()
    followed = begin(7, first, embedding)
    tried = attempt(followed, shift(8), takes_masks=segmenter.takes_masks, config=CONFIG)
    assert tried is not None
    followed = judge(followed, tried, segmenter.decode(embedding, tried.prompt), embedding, CONFIG)
    # The disc model's single mask is sure of itself by a half only.
    assert followed.status == "followed"
    assert followed.masks.binary[0, 60, 108]


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"least_likeness": -2}, {"most_growth": 0.5}])
def test_impossible_thresholds(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FollowConfig(**wrong)
