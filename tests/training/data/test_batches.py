"""Batches are functions of their seed, and their prompts mean their masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sam_edge.training.data.augment import View, motion_kernel, recolour, warp
from sam_edge.training.data.batches import PROMPTS_PER_IMAGE, SLOTS, Batches, choose_targets
from sam_edge.training.data.images import Photo, load_packs
from sam_edge.training.data.pack import TRAIN_SETS, entries, write_packs
from sam_edge.training.data.simulate import FOREGROUND
from sam_edge.training.runs.schedule import Crops


@pytest.fixture(scope="module")
def photos(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    folder = tmp_path_factory.mktemp("packs")
    write_packs(entries(tiny_data, "train", TRAIN_SETS), folder, 10**9)
    loaded: list[Photo] = load_packs(folder)
    return loaded


def test_the_same_number_gives_the_same_batch(photos: list[Photo]) -> None:
    first, again, other = Batches(photos, 3), Batches(photos, 3), Batches(photos, 4)
    for batches in (first, again, other):
        batches.set_crops((Crops(96, 3),))
    for name, value in first[7].items():
        assert torch.equal(value, again[7][name])
    assert not torch.equal(first[7]["images"], other[7]["images"])
    assert not torch.equal(first[7]["images"], first[8]["images"])


def test_shapes_follow_set_crops_and_no_mask_is_empty(photos: list[Photo]) -> None:
    batches = Batches(photos, 0)
    batches.set_crops((Crops(128, 4),))
    for number in range(5):
        batch = batches[number]
        prompts = 4 * PROMPTS_PER_IMAGE
        assert batch["images"].shape == (4, 3, 128, 128)
        assert batch["masks"].shape == (prompts, 128, 128)
        assert batch["coords"].shape == (prompts, SLOTS, 2)
        assert bool((batch["masks"].flatten(1).sum(1) > 0).all())
        assert bool((batch["labels"] >= 0).any(1).all())
        chosen = batch["labels"] == FOREGROUND
        assert bool(((batch["coords"] >= 0) & (batch["coords"] <= 128))[chosen].all())


def test_image_and_labels_are_cut_alike() -> None:
    labels = np.zeros((120, 160), np.uint8)
    cv2.ellipse(labels, (80, 60), (40, 25), 20, 0, 360, 1, -1)
    image = np.repeat(labels[:, :, None] * 255, 3, axis=2)
    matrix = np.array([[0.9, 0.2, 5.0], [-0.2, 0.9, 30.0]])
    for scale in (0.92, 0.4):
        view = warp(Photo("pets", "x", image, (labels,)), matrix * scale, 96, scale)
        inside = view.image[:, :, 0] > 128
        covered = cv2.warpAffine(np.ones_like(labels), matrix * scale, (96, 96)) > 0
        assert np.mean((inside == (view.labels[0] > 0))[covered]) > 0.98


def test_clothing_is_sometimes_the_whole_person() -> None:
    labels = np.zeros((96, 96), np.uint16)
    labels[10:40, 30:60], labels[40:80, 30:60] = 1, 2
    view = View(np.zeros((96, 96, 3), np.uint8), (labels,), 1.0)
    rng = np.random.default_rng(0)
    areas = {int(mask.sum()) for _ in range(40) for mask, _ in choose_targets(view, "ccp", rng)}
    assert areas == {30 * 30, 40 * 30, 70 * 30}
    areas = {int(mask.sum()) for _ in range(40) for mask, _ in choose_targets(view, "coco", rng)}
    assert areas == {30 * 30, 40 * 30}


def test_other_objects_never_overlap_the_target() -> None:
    labels = np.zeros((96, 96), np.uint16)
    labels[10:40, 30:60], labels[40:80, 30:60] = 1, 2
    view = View(np.zeros((96, 96, 3), np.uint8), (labels,), 1.0)
    targets = list(choose_targets(view, "facade", np.random.default_rng(0)))
    assert targets
    for mask, others in targets:
        assert not (mask & others).any()
        assert np.array_equal(mask | others, labels > 0)


def test_recolouring_keeps_shape_and_range() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    for seed in range(40):
        out = recolour(image, np.random.default_rng(seed))
        assert out.shape == image.shape
        assert out.dtype == np.uint8
    assert abs(float(motion_kernel(7, 35.0).sum()) - 1.0) < 1e-5
