"""A tiny labelled image set, so that the whole way can be tested without real data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sam_edge.training.data.pack import TRAIN_SETS


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_image(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) with three textured rectangles, and its label map."""
    image = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
    labels = np.zeros((height, width), np.uint8)
    for label in (1, 2, 3):
        x, y = rng.integers(0, width // 2), rng.integers(0, height // 2)
        w, h = rng.integers(width // 5, width // 2), rng.integers(height // 5, height // 2)
        image[y : y + h, x : x + w] = rng.integers(100, 255, 3)
        labels[y : y + h, x : x + w] = label
    return image, labels


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the layout of the real sets: two train images each, two coco val images."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    about: dict[str, dict[str, bool]] = {}
    for name in TRAIN_SETS:
        for split in ("train", "val") if name == "coco" else ("train",):
            for kind in ("images", "labels"):
                (root / name / kind / split).mkdir(parents=True)
            for number in range(2):
                image, labels = draw_image(rng, 200, 640 if number else 260)
                stem = f"{split}{number}"
                cv2.imwrite(str(root / name / "images" / split / f"{stem}.jpg"), image)
                cv2.imwrite(str(root / name / "labels" / split / f"{stem}.png"), labels)
                about[stem] = {"exhaustive": number == 0}
    (root / "coco" / "annotations.json").write_text(json.dumps(about))
    return root
