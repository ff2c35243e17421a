"""The gate refuses every kind of engine that other projects shipped wrong without knowing.

The numbers in the names of the broken engines' comments are those of the issues that tell of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sam_edge.bundle.folder import Bundle
from sam_edge.fidelity import gate
from sam_edge.fidelity.gate import Reference
from sam_edge.fidelity.result import LIMITS
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions
from tests.fidelity.broken import Broken, Change, judged, nothing


def shifted(answers: dict[str, np.ndarray]) -> None:
    """Half a pixel of the input to the right, as align_corners does (issue 10)."""
    if "logits" in answers:
        logits = answers["logits"]
        before = np.concatenate([logits[..., :1], logits[..., :-1]], axis=-1)
        answers["logits"] = (7 * logits + before) / 8


def swapped_channels(feeds: dict[str, np.ndarray]) -> None:
    if "image" in feeds:
        feeds["image"] = feeds["image"][:, ::-1].copy()


def overflowing(answers: dict[str, np.ndarray]) -> None:
    """What a LayerNorm in float16 did to EfficientViT-SAM and ViT-H (issues 5, 6)."""
    if "embedding" in answers:
        with np.errstate(over="ignore", invalid="ignore"):
            large = (answers["embedding"] * np.float32(60000)).astype(np.float16)
            answers["embedding"] = large.astype(np.float32) - large.astype(np.float32) * np.float32(0.5)


def half_garbage(answers: dict[str, np.ndarray]) -> None:
    """Few bits left: the decoder of NanoSAM and SAM-like attention in float16 (issues 1, 7)."""
    for name, value in answers.items():
        answers[name] = (value.view(np.uint32) & np.uint32(0xFFE00000)).view(np.float32)


def unnormalised(feeds: dict[str, np.ndarray]) -> None:
    """Divided by 255 and nothing else."""
    if "image" in feeds:
        feeds["image"] = (feeds["image"] * np.float32(57.4) + np.float32(116.3)) / np.float32(255)


def transposed(feeds: dict[str, np.ndarray]) -> None:
    if "point_coords" in feeds:
        feeds["point_coords"] = feeds["point_coords"][..., ::-1].copy()


def square_coordinates(feeds: dict[str, np.ndarray]) -> None:
    """The aspect ratio of the image that was traced (issue 10)."""
    if "point_coords" in feeds:
        feeds["point_coords"] = feeds["point_coords"] * np.array([1, 4 / 3], np.float32)


def labels_ignored(feeds: dict[str, np.ndarray]) -> None:
    if "point_labels" in feeds:
        labels = feeds["point_labels"]
        feeds["point_labels"] = np.where(labels == 0, 1, labels).astype(np.float32)


def boxes_ignored(feeds: dict[str, np.ndarray]) -> None:
    if "point_labels" in feeds:
        labels = feeds["point_labels"]
        feeds["point_labels"] = np.where(labels >= 2, 1, labels).astype(np.float32)


def earlier_mask_ignored(feeds: dict[str, np.ndarray]) -> None:
    if "has_mask" in feeds:
        feeds["has_mask"] = np.zeros_like(feeds["has_mask"])


def first_image_for_ever() -> Change:
    """An embedding that is not renewed: stale memory of another run (issue 26: right on the CPU only)."""
    kept: dict[str, np.ndarray] = {}

    def change(answers: dict[str, np.ndarray]) -> None:
        if "embedding" in answers:
            for name, value in answers.items():
                answers[name] = kept.setdefault(name, value)

    return change


def test_the_engine_itself_passes(nano: Bundle, loader: SessionLoader, expected: list[Reference]) -> None:
    assert judged(nano, loader, expected) == []
    with Segmenter(nano, loader) as segmenter:
        found = gate.measure(segmenter, expected)
    assert found.violations(LIMITS["fp32"]) == []
    assert found.mask_iou_mean == found.mask_iou_p1 == 1.0
    assert found.images == 2


@pytest.mark.parametrize(
    ("feeds", "answers"),
    [
        pytest.param(nothing, shifted, id="shifted by half a pixel"),
        pytest.param(swapped_channels, nothing, id="swapped channels"),
        pytest.param(nothing, overflowing, id="float16 overflow"),
        pytest.param(nothing, half_garbage, id="few bits"),
        pytest.param(unnormalised, nothing, id="wrong normalisation"),
        pytest.param(transposed, nothing, id="transposed coordinates"),
        pytest.param(square_coordinates, nothing, id="wrong aspect"),
        pytest.param(labels_ignored, nothing, id="labels ignored"),
        pytest.param(boxes_ignored, nothing, id="boxes ignored"),
        pytest.param(earlier_mask_ignored, nothing, id="earlier mask ignored"),
        pytest.param(nothing, first_image_for_ever(), id="stale embedding"),
    ],
)
def test_broken_engines_are_refused(
    feeds: Change, answers: Change, nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> None:
    def broken(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return Broken(loader(graph, options), feeds, answers)

    assert judged(nano, broken, expected)


def test_a_stale_graph_is_refused(
    nano: Bundle, loader: SessionLoader, expected: list[Reference], tmp_path: Path
) -> None:
    """Weights of another training run behind the same inputs and outputs (issues 4, 11)."""
    model = onnx.load(nano.graph("decoder"))
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(value * value.dtype.type(1.1), tensor.name))
    onnx.save(model, tmp_path / "decoder.onnx")

    def stale(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return loader(tmp_path / "decoder.onnx" if graph.stem == "decoder" else graph, options)

    assert judged(nano, stale, expected)


def test_the_shift_is_named(nano: Bundle, loader: SessionLoader, expected: list[Reference]) -> None:
    def moved(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return Broken(loader(graph, options), nothing, shifted)

    with Segmenter(nano, moved) as segmenter:
        found = gate.measure(segmenter, expected[:1])
    assert 0.4 < found.shift_px < 0.6
    # Masks alone would have let it through.
    assert any(line.startswith("shift_px") for line in found.violations(LIMITS["fp16"]))
