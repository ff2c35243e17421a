"""A small labelled set, two images with a disc and a box on each; and a yardstick that is read quickly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_edge.benchmarks.speed import decoder, encoder, stages
from sam_edge.benchmarks.speed.timing import gemm_call

DISC, BOX = 1, 2


def labels() -> np.ndarray:
    ys, xs = np.mgrid[0:160, 0:256]
    made = np.zeros((160, 256), np.uint8)
    made[20:70, 150:230] = BOX
    made[np.hypot(xs - 80, ys - 90) < 20] = DISC
    made[150:153, 5:8] = 3
    return made


@pytest.fixture
def labelled_set(tmp_path: Path) -> Path:
    root = tmp_path / "shapes"
    for name in ("00000", "00001"):
        for kind in ("images", "labels"):
            (root / kind / "val").mkdir(parents=True, exist_ok=True)
        image = cv2.merge([labels() * 100] * 3)
        cv2.imwrite(str(root / "images" / "val" / f"{name}.png"), image)
        cv2.imwrite(str(root / "labels" / "val" / f"{name}.png"), labels())
    about = {"00000": {"objects": [{"id": DISC, "category": "disc"}, {"id": BOX, "category": "box"}]}}
    (root / "annotations.json").write_text(json.dumps(about))
    return root


@pytest.fixture
def quick_gemm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's rate is read off a small product: it says nothing, and takes no second."""
    for module in (decoder, encoder, stages):
        monkeypatch.setattr(module, "gemm_call", partial(gemm_call, 64))


@pytest.fixture
def known_ms(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, float]], None]:
    """Makes benchmarks find these milliseconds, by name."""

    def install(milliseconds: Mapping[str, float]) -> None:
        for module in (decoder, encoder, stages):
            monkeypatch.setattr(
                module, "interleaved_ms", lambda calls, rounds: {name: milliseconds[name] for name in calls}
            )

    return install
