"""Preprocessing inside the graph against preprocessing before it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sam_edge.bundle.folder import find_bundle
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, encoder_input
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.segmenter import Segmenter
from sam_edge.tensors import Arrays

pytest.importorskip("openvino", reason="openvino is not installed: pip install 'sam-edge[openvino]'")

from sam_edge.runtimes.openvino.session import OpenVinoSession
from sam_edge.sessions.session import SessionOptions

SIZES_WH = [(512, 320), (512, 288), (160, 512), (640, 480), (333, 777)]
RESIZES = ["area", "antialias", "bilinear"]


def photo(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_a_frame_gives_the_same_features_as_its_input(
    size_wh: tuple[int, int], resize: Literal["area", "antialias", "bilinear"]
) -> None:
    bundle = find_bundle("nano")
    preprocess = replace(bundle.manifest.preprocess, resize=resize)
    image, view = photo(*size_wh), bundle.manifest.input_size.view(size_wh)
    engine = OpenVinoSession(bundle.graph("encoder"), SessionOptions(threads=1), cached=False)
    expected = engine.run({"image": encoder_input(image, view, preprocess)})
    for _ in range(3):
        for name, value in engine.run_frame(image, view, preprocess).items():
            np.testing.assert_allclose(value, expected[name], atol=2e-5)


def test_a_window_of_a_frame() -> None:
    bundle = find_bundle("nano")
    preprocess = bundle.manifest.preprocess
    image = photo(640, 480)
    engine = OpenVinoSession(bundle.graph("encoder"), SessionOptions(threads=1), cached=False)
    for window in [(100, 40, 320, 256), (0, 0, 320, 256), (7, 200, 320, 256)]:
        view = bundle.manifest.input_size.view((640, 480), window)
        expected = engine.run({"image": encoder_input(image, view, preprocess)})
        for name, value in engine.run_frame(image, view, preprocess).items():
            np.testing.assert_allclose(value, expected[name], atol=2e-5)


def test_preprocessing_is_part_of_the_key_of_kept_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    bundle = find_bundle("nano")
    image, view = photo(320, 256), bundle.manifest.input_size.view((320, 256))
    plain = bundle.manifest.preprocess
    for preprocess in (plain, replace(plain, mean=(0.0, 0.0, 0.0)), plain):
        engine = OpenVinoSession(bundle.graph("encoder"), SessionOptions(threads=1))
        expected = engine.run({"image": encoder_input(image, view, preprocess)})["embedding"]
        for _ in range(2):
            got = engine.run_frame(image, view, preprocess)["embedding"]
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_the_segmenter_lets_the_engine_prepare_its_frames() -> None:
    bundle = find_bundle("nano")
    image, view = photo(320, 256), bundle.manifest.input_size.view((320, 256))
    asked: list[View] = []

    class Noting(OpenVinoSession):
        def run_frame(
            self, image: np.ndarray, view: View, preprocess: Preprocess, layout: Layout = "rgb"
        ) -> Arrays:
            asked.append(view)
            return super().run_frame(image, view, preprocess, layout)

    with Segmenter(bundle, Noting, threads=1) as segmenter:
        embedding = np.asarray(segmenter.encode(image).tensors["embedding"])
    assert asked == [view]
    engine = OpenVinoSession(bundle.graph("encoder"), SessionOptions(threads=1))
    expected = engine.run({"image": encoder_input(image, view, bundle.manifest.preprocess)})["embedding"]
    np.testing.assert_allclose(embedding, expected, atol=2e-5)
