"""The gate looks at the frames that an engine prepares itself, in every layout, and at the masks they give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sam_edge.bundle.folder import Bundle
from sam_edge.fidelity import gate
from sam_edge.fidelity.frames import Frames, laid_out
from sam_edge.fidelity.gate import Reference
from sam_edge.fidelity.result import LIMITS, FidelityResult
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, encoder_input, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions, Wrapper
from sam_edge.tensors import Arrays
from tests.imaging import layouts


class Preparing(Wrapper):
    """An engine that prepares frames itself, from an image that differs."""

    def __init__(self, engine: Session, change: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(engine)
        self._change = change

    def run_frame(
        self, image: np.ndarray, view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        return self.run({"image": encoder_input(self._change(to_rgb(image, layout)), view, preprocess)})


def prepared(
    change: Callable[[np.ndarray], np.ndarray], nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> FidelityResult:
    """What is measured of an engine that prepares frames so."""

    def preparing(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return Preparing(loader(graph, options), change)

    frames = Frames(preparing)
    with Segmenter(nano, frames) as segmenter:
        found: FidelityResult = gate.measure(segmenter, expected, frames=frames)
    return found


def test_a_grey_level_more_or_less_is_no_fault_of_the_graphs(
    nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> None:
    found = prepared(lambda image: image ^ np.uint8(1), nano, loader, expected)
    violations = found.violations(LIMITS["fp32"])
    # Every value of the image is off here, which the masks show; rounding moves few.
    assert [line.split()[0] for line in violations] in ([], ["frame_mask_iou"])
    assert found.embedding_rms == 0 < found.frame_rms < LIMITS["fp32"].frame_rms
    assert found.mask_iou_mean == 1.0 > found.frame_mask_iou


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image[..., ::-1], id="swapped channels"),
        pytest.param(lambda image: np.roll(image, 4, axis=1), id="shifted by four pixels"),
        pytest.param(lambda image: image // 2, id="half as bright"),
        pytest.param(lambda image: np.clip(image, 3, None) - 3, id="another mean, three grey levels"),
        pytest.param(lambda image: (image * 0.98).astype(np.uint8), id="another deviation, two per cent"),
    ],
)
def test_frames_prepared_wrongly_are_refused(
    change: Callable[[np.ndarray], np.ndarray], nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> None:
    violations = prepared(change, nano, loader, expected).violations(LIMITS["fp16"])
    assert {line.split()[0] for line in violations} == {"frame_rms", "frame_mask_iou"}


def test_what_goes_wrong_only_when_a_size_comes_again_is_refused(
    nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> None:
    sizes: set[tuple[int, ...]] = set()

    def change(image: np.ndarray) -> np.ndarray:
        seen = image.shape in sizes
        sizes.add(image.shape)
        return image[..., ::-1] if seen else image

    violations = prepared(change, nano, loader, expected).violations(LIMITS["fp32"])
    assert {line.split()[0] for line in violations} == {"frame_rms", "frame_mask_iou"}


@pytest.mark.parametrize("wrong", ["bgr", "nv12"])
def test_a_layout_that_is_taken_for_another_is_refused(
    wrong: Layout, nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> None:
    class Mistaken(Wrapper):
        def run_frame(
            self, image: np.ndarray, view: View, preprocess: Preprocess, layout: Layout = "rgb"
        ) -> Arrays:
            rgb = to_rgb(image, layout)
            return self.run(
                {"image": encoder_input(rgb[..., ::-1] if layout == wrong else rgb, view, preprocess)}
            )

    frames = Frames(lambda graph, options=SessionOptions(): Mistaken(loader(graph, options)))
    with Segmenter(nano, frames) as segmenter:
        found = gate.measure(segmenter, expected, frames=frames)
    assert [line.split()[0] for line in found.violations(LIMITS["fp16"])] == ["frame_rms"]


@pytest.mark.parametrize("layout", ["rgb", "bgr", "nv12"])
def test_images_are_laid_out_as_cameras_do(layout: Layout) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(laid_out(image, layout), layouts.laid_out(image, layout)[0])


def test_odd_images_have_no_nv12(nano: Bundle, loader: SessionLoader) -> None:
    frames = Frames(
        lambda graph, options=SessionOptions(): Preparing(loader(graph, options), lambda image: image)
    )
    with Segmenter(nano, frames) as segmenter:
        segmenter.encode(np.zeros((65, 96, 3), np.uint8))
        segmenter.encode(np.zeros((64, 96, 3), np.uint8))
    assert len(frames.rms) == 3


def test_engines_that_prepare_no_frames_are_left_as_they_are(loader: SessionLoader, nano: Bundle) -> None:
    frames = Frames(loader)
    engine = frames(nano.graph("encoder"))
    assert not hasattr(engine, "run_frame")
    assert frames.rms == []
