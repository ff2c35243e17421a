"""The gate refuses every kind of engine that other projects shipped wrong without knowing.

The numbers in the names of the broken engines' comments are those of the issues that tell of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sam_edge.bundle import Bundle, find_bundle
from sam_edge.errors import FidelityError
from sam_edge.exporters import gate
from sam_edge.exporters.frames import Frames
from sam_edge.exporters.gate import Expected
from sam_edge.exporters.pictures import generated
from sam_edge.geometry import View
from sam_edge.image import Layout, encoder_input
from sam_edge.manifest import Engine, Preprocess
from sam_edge.runtime import OpenRuntime, Runtime, find_runtime
from sam_edge.segmenter import Segmenter
from sam_edge.tensors import Arrays
from sam_edge.wrapped import Wrapped

Change = Callable[[dict[str, np.ndarray]], None]


class Broken(Wrapped):
    """An engine whose feeds and answers are spoilt on the way."""

    def __init__(self, engine: Runtime, spoil_feeds: Change, spoil_answers: Change) -> None:
        super().__init__(engine)
        self._spoil_feeds, self._spoil_answers = spoil_feeds, spoil_answers

    def run(self, feeds: Arrays) -> Arrays:
        given = {name: np.array(value) for name, value in feeds.items()}
        self._spoil_feeds(given)
        answers = dict(super().run(given))
        self._spoil_answers(answers)
        return answers


def nothing(arrays: dict[str, np.ndarray]) -> None:
    pass


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
    """The aspect ratio of the picture that was traced (issue 10)."""
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


def first_picture_for_ever() -> Change:
    """An embedding that is not renewed: stale memory of another run (issue 26: right on the CPU only)."""
    kept: dict[str, np.ndarray] = {}

    def change(answers: dict[str, np.ndarray]) -> None:
        if "embedding" in answers:
            for name, value in answers.items():
                answers[name] = kept.setdefault(name, value)

    return change


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return find_bundle("nano")


@pytest.fixture(scope="module")
def opener() -> OpenRuntime:
    return find_runtime("onnxruntime:cpu")[1]


@pytest.fixture(scope="module")
def expected(nano: Bundle, opener: OpenRuntime) -> list[Expected]:
    with Segmenter(nano, opener) as segmenter:
        answers: list[Expected] = gate.ask(segmenter, generated(3)[:2])
    return answers


def judged(bundle: Bundle, opener: OpenRuntime, expected: Sequence[Expected]) -> list[str]:
    """What fp16's limits, the wider ones, say against an engine."""
    with Segmenter(bundle, opener) as segmenter:
        found = gate.measure(segmenter, expected)
    beyond: list[str] = gate.judge(found, "fp16")
    if beyond:
        with pytest.raises(FidelityError, match="differs from the model"):
            gate.check(found, Engine("broken", "fp16"))
        assert gate.result(found, "fp16", against_onnx=True)["passed"] == 0
    return beyond


def test_the_engine_itself_passes(nano: Bundle, opener: OpenRuntime, expected: list[Expected]) -> None:
    assert judged(nano, opener, expected) == []
    with Segmenter(nano, opener) as segmenter:
        found = gate.measure(segmenter, expected)
    assert gate.judge(found, "fp32") == []
    assert found["mask_iou_mean"] == found["mask_iou_p1"] == 1.0
    assert found["pictures"] == 2


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
        pytest.param(nothing, first_picture_for_ever(), id="stale embedding"),
    ],
)
def test_broken_engines_are_refused(
    feeds: Change, answers: Change, nano: Bundle, opener: OpenRuntime, expected: list[Expected]
) -> None:
    def broken(graph: Path, threads: int | None = None) -> Runtime:
        return Broken(opener(graph, threads), feeds, answers)

    assert judged(nano, broken, expected)


def test_a_stale_graph_is_refused(
    nano: Bundle, opener: OpenRuntime, expected: list[Expected], tmp_path: Path
) -> None:
    """Weights of another training run behind the same inputs and outputs (issues 4, 11)."""
    model = onnx.load(nano.graph("decoder"))
    tensor = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(value * value.dtype.type(1.1), tensor.name))
    onnx.save(model, tmp_path / "decoder.onnx")

    def stale(graph: Path, threads: int | None = None) -> Runtime:
        return opener(tmp_path / "decoder.onnx" if graph.stem == "decoder" else graph, threads)

    assert judged(nano, stale, expected)


def test_the_shift_is_named(nano: Bundle, opener: OpenRuntime, expected: list[Expected]) -> None:
    def moved(graph: Path, threads: int | None = None) -> Runtime:
        return Broken(opener(graph, threads), nothing, shifted)

    with Segmenter(nano, moved) as segmenter:
        found = gate.measure(segmenter, expected[:1])
    assert 0.4 < found["shift_px"] < 0.6
    # Masks alone would have let it through.
    assert any(line.startswith("shift_px") for line in gate.judge(found, "fp16"))


class Preparing(Wrapped):
    """An engine that prepares frames itself, from a picture that differs."""

    def __init__(self, engine: Runtime, change: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(engine)
        self._change = change

    def run_frame(
        self, image: np.ndarray, view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        return self.run({"image": encoder_input(self._change(image), view, preprocess)})


def prepared(
    change: Callable[[np.ndarray], np.ndarray], nano: Bundle, opener: OpenRuntime, expected: list[Expected]
) -> dict[str, float]:
    """What is measured of an engine that prepares frames so."""

    def preparing(graph: Path, threads: int | None = None) -> Runtime:
        return Preparing(opener(graph, threads), change)

    frames = Frames(preparing)
    with Segmenter(nano, frames) as segmenter:
        found: dict[str, float] = gate.measure(segmenter, expected, frames_rms=frames.rms)
    return found


def test_a_grey_level_more_or_less_is_no_fault_of_the_graphs(
    nano: Bundle, opener: OpenRuntime, expected: list[Expected]
) -> None:
    found = prepared(lambda image: image ^ np.uint8(1), nano, opener, expected)
    assert gate.judge(found, "fp32") == []
    assert found["embedding_rms"] == 0 < found["frame_rms"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image[..., ::-1], id="swapped channels"),
        pytest.param(lambda image: np.roll(image, 4, axis=1), id="shifted by four pixels"),
        pytest.param(lambda image: image // 2, id="half as bright"),
    ],
)
def test_frames_prepared_wrongly_are_refused(
    change: Callable[[np.ndarray], np.ndarray], nano: Bundle, opener: OpenRuntime, expected: list[Expected]
) -> None:
    beyond = gate.judge(prepared(change, nano, opener, expected), "fp16")
    assert [line.split()[0] for line in beyond] == ["frame_rms"]


def test_what_goes_wrong_only_when_a_size_comes_again_is_refused(
    nano: Bundle, opener: OpenRuntime, expected: list[Expected]
) -> None:
    sizes: set[tuple[int, ...]] = set()

    def change(image: np.ndarray) -> np.ndarray:
        seen = image.shape in sizes
        sizes.add(image.shape)
        return image[..., ::-1] if seen else image

    beyond = gate.judge(prepared(change, nano, opener, expected), "fp32")
    assert [line.split()[0] for line in beyond] == ["frame_rms"]


def test_engines_that_prepare_no_frames_are_left_as_they_are(opener: OpenRuntime, nano: Bundle) -> None:
    frames = Frames(opener)
    engine = frames(nano.graph("encoder"))
    assert not hasattr(engine, "run_frame")
    assert frames.rms == []


def test_nan_is_no_pass() -> None:
    limits = {**vars(gate.LIMITS["fp16"])}
    assert gate.judge(limits, "fp16") == []
    for name in limits:
        assert gate.judge({**limits, name: float("nan")}, "fp16")
        kept = gate.result({**limits, name: float("nan")}, "fp16", against_onnx=False)
        assert name not in kept
        assert kept["passed"] == 0
