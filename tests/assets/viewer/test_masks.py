"""masks.js beside pycocotools and our own masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam_edge.bundle.manifest import InputSize
from sam_edge.masks import Masks

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.assets.viewer.fake_service import FakeService

RUN = """async ([name, inputs]) => {
  const masks = await import("/masks.js");
  const found = JSON.parse(inputs).map((input) => masks[name](...input));
  return JSON.stringify(found.map((mask) => (mask.pixels ? { ...mask, pixels: [...mask.pixels] } : mask)));
}"""


@pytest.fixture
def page(look: Callable[..., Page], service: FakeService) -> Page:
    return look(service.url)


def run(page: Page, name: str, inputs: list[list[Any]]) -> Any:
    """What a function of masks.js says to each list of arguments."""
    return json.loads(page.evaluate(RUN, [name, json.dumps(inputs)]))


def some_masks() -> list[np.ndarray]:
    """Noise, blobs, nothing and everything, of awkward sizes."""
    random = np.random.default_rng(0)
    found = [np.zeros((5, 7), np.uint8), np.ones((4, 3), np.uint8)]
    for height, width in ((1, 1), (1, 40), (33, 1), (48, 31), (180, 320)):
        noise = random.random((height, width)).astype(np.float32)
        found += [(noise > 0.5).astype(np.uint8), (cv2.GaussianBlur(noise, (0, 0), 6) > 0.5).astype(np.uint8)]
    return found


def test_run_lengths_are_cocos(page: Page) -> None:
    masks = some_masks()
    rles = [coco.encode(np.asfortranarray(mask)) for mask in masks]
    rles = [
        {"size": list(mask.shape), "counts": rle["counts"].decode()}
        for mask, rle in zip(masks, rles, strict=True)
    ]
    decoded = run(page, "fromRle", [[rle] for rle in rles])
    for mask, found in zip(masks, decoded, strict=True):
        assert found["pixels"] == mask.ravel().tolist()
    assert run(page, "toRle", [[found] for found in decoded]) == rles
    for mask, found in zip(masks, run(page, "measure", [[one] for one in decoded]), strict=True):
        assert found == {"bbox": list(cv2.boundingRect(mask)), "area": int(mask.sum())}


@pytest.mark.parametrize("window", [None, (100, 40, 320, 200)])
def test_logits_become_the_same_mask_on_the_frame(page: Page, window: tuple[int, int, int, int] | None) -> None:
    view = InputSize(long_side=512, multiple=32, square=False).view((640, 360), window)
    width, height = view.input_wh
    noise = np.random.default_rng(1).standard_normal((height // 4, width // 4)).astype(np.float32)
    logits = cv2.GaussianBlur(noise, (0, 0), 4).astype(np.float32)
    named: dict[str, Any] = {
        name: list(getattr(view, name)) for name in ("frame_wh", "window_xywh", "content_wh", "input_wh")
    }
    inputs = [[logits.ravel().tolist(), list(logits.shape), named]]
    [found] = run(page, "fromLogits", inputs)
    ours = Masks(logits[None], np.ones(1, np.float32), view).binary[0]
    # One resize in place of two: pixels at the very edge may differ.
    assert np.mean(np.reshape(found["pixels"], ours.shape) != ours) < 0.005
