"""Training batches, each a function of the seed and its number, made in background processes."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sam_edge.training.runs.schedule import Crops
from sam_edge.training.steps.dense import instance_targets

from .augment import View, crop_around, paste, recolour, shape
from .images import Photo
from .simulate import BOX_SHARE, first_prompt

Array = NDArray[Any]

SET_WEIGHTS = {"coco": 0.62, "coco_person": 0.16, "pets": 0.08, "ccp": 0.09, "facade": 0.05}
SLOTS = 3
PROMPTS_PER_IMAGE = 3
SMALLEST_PX = 200
MOST_CROPS = 8
PASTED = 60_000
PANOPTIC_SHARE = 0.15
WHOLE_SHARE = 0.45
SCALES = (0.33, 1.7)


class Batches(Dataset[dict[str, Tensor]]):
    """Batch `number` of a run: crops, object masks and first prompts, as a function of the seed and the number.

    With B crops of C x C pixels and PROMPTS_PER_IMAGE prompts each, P in all, a batch has `images` (B, 3, C, C)
    uint8 RGB, `masks` (P, C, C) uint8, `coords` (P, SLOTS, 2) float32 in pixels of the crop, `labels`
    (P, SLOTS) float32, and `extents` and `groups` of `instance_targets`. Prompts of one crop follow each other.

    The processes of a run share a step's images: number n is for process n % `processes`. Crop sizes are kept
    in shared memory, so that they can change while workers run.

    Args:
        photos: of all sets.
        seed: of the run.
        processes: how many share a step.
        box_share: what share of the first prompts has a box, 0 to 1.
    """

    def __init__(
        self, photos: list[Photo], seed: int, processes: int = 1, box_share: float = BOX_SHARE
    ) -> None:
        self.seed = seed
        self.box_share = box_share
        self.photos = len(photos)
        self.processes = processes
        self.by_set = {
            name: [p for p in photos if p.set == name]
            for name in SET_WEIGHTS
            if any(p.set == name for p in photos)
        }
        weights = np.array([SET_WEIGHTS[name] for name in self.by_set])
        self.chance = weights / weights.sum()
        self._crops: SynchronizedArray[int] = multiprocessing.Array("l", MOST_CROPS)

    def set_crops(self, crops: tuple[Crops, ...]) -> None:
        """Let every batch that is made from now on draw one of `crops`, at most MOST_CROPS."""
        numbers = [crop.size * 1000 + crop.count for crop in crops]
        self._crops[:] = numbers + [0] * (MOST_CROPS - len(numbers))

    def _drawn_crops(self, step: int) -> Crops:
        options = [number for number in self._crops[:] if number]
        chosen = np.random.default_rng((self.seed, step, 2)).integers(len(options))
        return Crops(*divmod(options[chosen], 1000))

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, number))
        crops = self._drawn_crops(number // self.processes)
        size, count = crops.size, -(-crops.count // self.processes)
        samples = [self._sample(rng, size) for _ in range(count)]
        parts = zip(*samples, strict=True)
        images, masks, coords, labels, extents, groups = (torch.from_numpy(np.stack(part)) for part in parts)
        return {
            "images": images.permute(0, 3, 1, 2).contiguous(),
            "masks": masks.flatten(0, 1),
            "coords": coords.flatten(0, 1),
            "labels": labels.flatten(0, 1),
            "extents": extents,
            "groups": groups,
        }

    def _pick(self, rng: np.random.Generator) -> Photo:
        group = self.by_set[list(self.by_set)[rng.choice(len(self.chance), p=self.chance)]]
        return group[rng.integers(len(group))]

    def _sample(self, rng: np.random.Generator, size: int) -> tuple[Array, ...]:
        while True:
            photo = self._pick(rng)
            view = crop_around(photo, rng, size, SCALES)
            if rng.random() < 0.2:
                view = paste(view, self._pick(rng), rng, PASTED)
            if rng.random() < 0.05:
                view = shape(view, self._pick(rng), rng, PASTED + 1)
            targets = choose_targets(view, photo.set, rng)
            if targets:
                break
        degree_px = 5.12 * view.scale
        masks = np.zeros((PROMPTS_PER_IMAGE, size, size), np.uint8)
        coords = np.zeros((PROMPTS_PER_IMAGE, SLOTS, 2), np.float32)
        labels = np.zeros((PROMPTS_PER_IMAGE, SLOTS), np.float32)
        for k in range(PROMPTS_PER_IMAGE):
            mask, others = targets[k % len(targets)]
            masks[k] = mask
            coords[k], labels[k] = first_prompt(mask, others, rng, degree_px, SLOTS, self.box_share)
        dense = instance_targets(_instances(view, photo.set))
        return recolour(view.image, rng), masks, coords, labels, *dense


def choose_targets(view: View, kind: str, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Choose the objects of a view that are prompted.

    In the clothing set often the whole person is chosen instead of a part, so that one click has two answers.

    Args:
        view: a crop with its label maps (C, C).
        kind: name of the set it is from.

    Returns:
        Up to PROMPTS_PER_IMAGE different objects, none of which fills the crop: its mask and the mask of all
        other objects, both (C, C) bool.
    """
    targets: list[tuple[Array, Array]] = []
    counts = [np.bincount(labels.ravel()) for labels in view.labels]
    options: list[tuple[int, int]] = []
    chances: list[float] = []
    for index, areas in enumerate(counts):
        share = PANOPTIC_SHARE if index else 1.0 - PANOPTIC_SHARE * (len(counts) > 1)
        ids = np.flatnonzero(areas > SMALLEST_PX)
        ids = ids[ids > 0]
        options += [(index, int(label)) for label in ids]
        chances += [share / len(ids) * (2.0 if label >= PASTED else 1.0) for label in ids]
    if not options:
        return targets
    chance = np.array(chances) / np.sum(chances)
    amount = min(PROMPTS_PER_IMAGE, len(options))
    for chosen in rng.choice(len(options), amount, replace=False, p=chance):
        index, label = options[chosen]
        labels = view.labels[index]
        if kind == "ccp" and label < PASTED and rng.random() < WHOLE_SHARE:
            mask = (labels > 0) & (labels < PASTED)
        else:
            mask = labels == label
        if not mask.all():
            targets.append((mask, (labels > 0) & ~mask))
    return targets


def _instances(view: View, kind: str) -> Array:
    """The view's objects as labels; of the clothing set the person, not the garments."""
    labels: Array = view.labels[0]
    if kind == "ccp":
        labels = np.where((labels > 0) & (labels < PASTED), 1, labels)
    return labels


class _From(Sampler[int]):
    def __init__(self, start: int, stride: int) -> None:
        self.start = start
        self.stride = stride

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start, self.stride)


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def loader(batches: Batches, start: int, stride: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """Batches `start`, `start` + `stride`, ... without end, see `Batches`.

    Args:
        start: number of the first batch.
        stride: how many processes share the run.
        workers: how many background processes make batches, at least one; each makes three ahead.
    """
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=_From(start, stride),
            num_workers=workers,
            prefetch_factor=3,
            worker_init_fn=_start_worker,
        )
    )
