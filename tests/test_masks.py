"""Masks at the frame's size, their scores, and their run lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from sam_edge.geometry import InputSize
from sam_edge.masks import Masks, choose_multimask

RULE = InputSize(256, 32, False)


def smooth_logits(seed: int, k: int = 3) -> np.ndarray:
    import cv2

    coarse = np.random.default_rng(seed).normal(0, 8, (k, 5, 5)).astype(np.float32)
    return np.stack([cv2.resize(plane, (64, 64)) for plane in coarse])


def masks(seed: int, frame_wh: tuple[int, int] = (256, 256)) -> Masks:
    return Masks(smooth_logits(seed), np.array([0.2, 0.9, 0.5], np.float32), RULE.view(frame_wh))


def test_resize_is_torchs_interpolate_by_way_of_the_input() -> None:
    torch = pytest.importorskip("torch")
    frame = masks(1, (640, 640))
    low = torch.from_numpy(frame.logits)[None]
    interpolate = torch.nn.functional.interpolate
    middle = interpolate(low, (256, 256), mode="bilinear", align_corners=False)
    full = interpolate(middle, (640, 640), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(frame.frame_logits, full[0].numpy(), atol=1e-4)


@given(st.integers(0, 1000), st.tuples(st.integers(20, 400), st.integers(20, 400)))
def test_run_lengths_hold_the_mask(seed: int, frame_wh: tuple[int, int]) -> None:
    view = RULE.view(frame_wh)
    logits = smooth_logits(seed)[:, : view.input_wh[1] // 4, : view.input_wh[0] // 4]
    made = Masks(logits, np.zeros(3, np.float32), view)
    for plane, words in zip(made.binary, made.to_coco(), strict=True):
        np.testing.assert_array_equal(coco.decode(words["rle"]).astype(bool), plane)
        assert words["area"] == plane.sum() == coco.area(words["rle"])
        assert words["bbox"] == coco.toBbox(words["rle"]).astype(int).tolist()


def test_best_is_the_most_confident() -> None:
    best = masks(2).best()
    assert len(best) == 1
    assert best.predicted_iou[0] == np.float32(0.9)
    np.testing.assert_array_equal(best.logits[0], masks(2).logits[1])


def test_stability_is_the_papers() -> None:
    made = masks(3)
    for plane, score in zip(made.frame_logits, made.stability_score(offset=1.0), strict=True):
        inner, outer = plane > 1, plane > -1
        assert score == pytest.approx((inner & outer).sum() / (inner | outer).sum())


@given(
    st.integers(0, 1000),
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 64), st.integers(1, 64)),
)
def test_stability_of_small_masks_is_that_of_the_whole_frame(
    seed: int, frame_wh: tuple[int, int], object_xywh: tuple[int, int, int, int]
) -> None:
    view = RULE.view(frame_wh)
    logits = np.full((3, view.input_wh[1] // 4, view.input_wh[0] // 4), -8, np.float32)
    x, y, width, height = object_xywh
    place = np.s_[:, y : y + height, x : x + width]
    logits[place] = smooth_logits(seed)[:, : logits.shape[1], : logits.shape[2]][place]
    made = Masks(logits, np.zeros(3, np.float32), view)
    for plane, score in zip(made.frame_logits, made.stability_score(), strict=True):
        inner, outer = (plane > 1).sum(), (plane > -1).sum()
        # A logit that lies on the threshold may fall on either side of it.
        assert abs(score * max(1, outer) - inner) <= 1 + 1e-4 * outer


def test_stability_of_nothing_is_zero_and_of_certainty_one() -> None:
    logits = np.stack([np.full((64, 64), -9.0), np.full((64, 64), 9.0)]).astype(np.float32)
    made = Masks(logits, np.zeros(2, np.float32), RULE.view((256, 256)))
    assert made.stability_score().tolist() == [0.0, 1.0]
    assert made.boxes_px().tolist() == [[0, 0, 0, 0], [0, 0, 256, 256]]


def test_a_window_is_pasted_where_it_was_cut() -> None:
    view = RULE.view((1000, 800), (200, 100, 256, 256))
    made = Masks(np.ones((1, 64, 64), np.float32), np.ones(1, np.float32), view)
    assert made.boxes_px().tolist() == [[200, 100, 256, 256]]


@pytest.mark.parametrize(("tokens", "multimask"), [(0, True), (2, True), (3, False), (12, False)])
def test_choice_rule(tokens: int, multimask: bool) -> None:
    assert choose_multimask(tokens) is multimask


def test_squashed_masks_come_back_in_one_bicubic_step() -> None:
    torch = pytest.importorskip("torch")
    view = InputSize(256, 256, True, "squash").view((320, 100))
    made = Masks(smooth_logits(4), np.zeros(3, np.float32), view)
    low = torch.from_numpy(made.logits)[None]
    full = torch.nn.functional.interpolate(low, (100, 320), mode="bicubic", align_corners=False)
    np.testing.assert_allclose(made.frame_logits, full[0].numpy(), atol=1e-4)


@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_the_rough_box_is_the_box_to_a_cell(corner: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = InputSize(1024, 32, square=False).view((640, 360), (40 * corner, 20 * corner, 320, 180))
    logits = np.full((1, view.input_wh[1] // 4, view.input_wh[0] // 4), -4.0, np.float32)
    x, y = rng.integers(2, 60, 2).tolist()
    width, height = rng.integers(4, 60, 2).tolist()
    logits[0, y : y + height, x : x + width] = 4.0
    masks = Masks(logits, np.ones(1, np.float32), view)
    rough = masks.rough_box_px()
    assert rough is not None
    left, top, wide, high = masks.boxes_px()[0].tolist()
    cell = 4 * 320 / 1024
    assert np.abs(np.subtract(rough, (left, top, left + wide, top + high))).max() <= 2 * cell


def test_an_empty_mask_has_no_rough_box() -> None:
    view = InputSize(1024, 32, square=False).view((640, 360))
    logits = np.full((1, view.input_wh[1] // 4, view.input_wh[0] // 4), -4.0, np.float32)
    assert Masks(logits, np.ones(1, np.float32), view).rough_box_px() is None
