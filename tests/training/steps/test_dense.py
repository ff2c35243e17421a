"""The dense targets and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_edge.modeling.nano.model import build_nano
from sam_edge.training.steps.dense import DenseHeads, instance_targets


def two_objects() -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    labels = np.zeros((96, 96), np.uint16)
    labels[16:64, 0:48] = 7
    labels[16:64, 48:96] = 300
    return labels


def test_extents_reach_to_the_sides_of_the_object() -> None:
    extents, groups = instance_targets(two_objects())
    assert extents.shape == (4, 6, 6)
    assert groups.shape == (12, 12)
    row, column = 2, 1
    centre_x, centre_y = column * 16 + 8, row * 16 + 8
    wanted = np.array([centre_x, centre_y - 16, 48 - centre_x, 64 - centre_y]) / 64
    assert extents[:, row, column] == pytest.approx(wanted, abs=4 / 64)
    assert (extents[:, 5] == -1).all()
    assert set(np.unique(groups)) == {0, 1, 2}


def test_a_image_full_of_objects_has_no_group_for_nothing() -> None:
    labels = np.full((64, 64), 5, np.uint16)
    _, groups = instance_targets(labels)
    assert (groups == 1).all()


def test_unlabelled_images_cost_nothing_but_are_no_error() -> None:
    extents, groups = instance_targets(np.zeros((64, 64), np.uint16))
    features = build_nano().encoder(torch.zeros(1, 3, 64, 64))
    heads = DenseHeads()
    assert float(heads.extent_loss(features["embedding"], torch.from_numpy(extents)[None]).detach()) == 0
    loss = heads(features, torch.from_numpy(extents)[None], torch.from_numpy(groups)[None])
    assert torch.isfinite(loss)


def test_keys_that_tell_objects_apart_cost_less() -> None:
    _, groups = instance_targets(two_objects())
    wanted = torch.from_numpy(groups)[None]
    heads = DenseHeads().requires_grad_(False)
    apart = torch.zeros(1, 64, 12, 12)
    for number in range(3):
        apart[0, number::4][:, groups == number] = 1.0
    alike = torch.ones(1, 64, 12, 12)
    assert float(heads.group_loss(apart, wanted)) < 0.5 * float(heads.group_loss(alike, wanted))


def test_boxes_told_exactly_cost_nothing() -> None:
    extents, _ = instance_targets(two_objects())
    wanted = torch.from_numpy(extents)[None]
    heads = DenseHeads()
    heads.extent = torch.nn.Identity()  # type: ignore[assignment]
    told = torch.log(torch.expm1(wanted.clamp(min=0.01)))
    assert float(heads.extent_loss(told, wanted)) < 1e-3
    assert float(heads.extent_loss(told + 1, wanted)) > 0.1
