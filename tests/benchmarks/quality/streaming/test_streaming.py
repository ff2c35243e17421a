"""The benchmarks of choice, windows and following, on a model whose answers are known."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from sam_edge.benchmarks.quality.streaming.choice import Look, measure
from sam_edge.geometry import InputSize
from sam_edge.masks import Masks
from sam_edge.streaming.choice import ChoiceConfig
from sam_edge.streaming.motion.motion import Motion
from tests.disc_model import disc_bundle
from tests.fixtures.tables import backend, use_backends


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    disc_bundle(tmp_path)
    use_backends(monkeypatch, backend("disc"))
    return tmp_path / "disc"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A disc of 20 pixels' radius that stands still for five frames, and is gone in the sixth."""
    root = tmp_path / "moving"
    ys, xs = np.mgrid[0:128, 0:256]
    for index in range(6):
        label = (np.hypot(xs - 100, ys - 60) < 20).astype(np.uint8) * (index < 5)
        for kind, image in (("images", cv2.merge([label * 200] * 3)), ("labels", label)):
            path = root / kind / "disc" / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return root


def answer(name: str, *arguments: object) -> Any:
    main = importlib.import_module(f"sam_edge.benchmarks.quality.streaming.{name}").main
    found = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_memory_flickers_less_than_the_highest_prediction() -> None:
    """Two masks whose predictions take turns: without memory each look shows another one."""
    view = InputSize(long_side=128, multiple=32, square=False).view((128, 64))
    planes = np.full((2, 16, 32), -1, np.float32)
    planes[0, 4:8, 4:8], planes[1, 4:8, 4:12] = 1, 1
    looks = []
    for turn in range(5):
        predicted = np.array((0.7, 0.75) if turn % 2 else (0.75, 0.7), np.float32)
        masks = Masks(planes, predicted, view)
        looks.append(Look("a", masks, (24, 24), masks.binary[0], Motion() if turn else None))
    found = measure(looks, {"argmax": ChoiceConfig(memory=0, size=0), "default": ChoiceConfig()})["a"]
    assert found["argmax"]["flicker"] == pytest.approx(0.5)
    assert found["default"]["flicker"] == 0
    assert found["default"]["iou"] == found["default"]["oracle"] == 1
    assert found["argmax"]["iou"] < 1
    assert found["argmax"]["looks"] == 5


@pytest.mark.slow
def test_choices_on_scenes_and_videos(model: Path, video: Path) -> None:
    found = answer(
        "choice", video, "--model", model, "--scenes", 1, "--seconds", 0.2, "--first-seed", 1, "--memory", 2
    )
    assert list(found) == ["scenes", "moving, every frame"]
    for ways in found.values():
        assert list(ways) == ["argmax", "argmax, size", "default", "memory 2"]
        for row in ways.values():
            assert 0 <= row["iou"] <= row["oracle"] <= 1 or math.isnan(row["iou"])


def test_windows_by_the_size_of_the_object(model: Path, video: Path) -> None:
    found = answer("foveation", video, "--model", model, "--scenes", 0)
    (name,) = found["groups"]
    assert name == "moving 0.30-0.50"
    scores = found["groups"][name]["scores"]
    assert {"whole", "half", "third", "half_128", "third_128", "rule", "rule_window"} <= set(scores)
    # The disc model draws the same disc on its input, so half as large a one in a window.
    assert scores["whole"]["mean"] > 0.9
    assert scores["half"]["mean"] < 0.5
    assert set(found["encode_ms"]) == {"whole", "half", "third", "half_128", "third_128"}


def test_a_video_is_followed_and_its_loss_is_counted(model: Path, video: Path) -> None:
    rows = answer("follow", video, "--model", model, "--scenes", 0)
    row = rows["moving, every frame, object, point"]
    assert row["tracks"] == 1
    # Right in four frames of five, and in the last one it shows what is gone.
    assert 0.5 < row["J"] <= 0.8
    assert (row["said"], row["missed"]) == (0, 1)
    assert row["wrong"] == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["choice", "foveation", "follow"])
def test_nothing_to_measure_is_one_line(name: str, model: Path) -> None:
    main = importlib.import_module(f"sam_edge.benchmarks.quality.streaming.{name}").main
    done = CliRunner().invoke(main, ["--model", str(model), "--scenes", "0"])
    assert done.exit_code == 2
    assert done.output.startswith("error: nothing was")
