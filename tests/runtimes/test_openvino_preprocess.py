"""Preprocessing inside the graph against preprocessing before it."""

from __future__ import annotations

import numpy as np
import pytest

from sam_edge.bundle import find_bundle
from sam_edge.geometry import View
from sam_edge.image import encoder_input

pytest.importorskip("openvino", reason="openvino is not installed: pip install 'sam-edge[openvino]'")

from sam_edge.runtimes.openvino import OpenVinoRuntime
from sam_edge.runtimes.openvino_model import Compiler, read_model, settings
from sam_edge.runtimes.openvino_preprocess import fold_preprocess


@pytest.mark.parametrize("size_wh", [(512, 320), (512, 288), (160, 512)])
def test_folded_preprocessing_gives_the_same_embedding(size_wh: tuple[int, int]) -> None:
    bundle = find_bundle("nano")
    manifest = bundle.manifest
    image = np.random.default_rng(0).integers(0, 256, (*size_wh[::-1], 3), dtype=np.uint8)
    view: View = manifest.input_size.view(size_wh)
    assert view.seen_wh == size_wh
    model = fold_preprocess(
        read_model(bundle.graph("encoder")), manifest.preprocess, view.seen_wh, view.picture_wh
    )
    folded = Compiler("CPU", settings(model, "CPU", 1), None, "").compile(model)
    answer = folded.create_infer_request().infer({0: image[None]})
    blob = encoder_input(image, view, manifest.preprocess)
    expected = OpenVinoRuntime(bundle.graph("encoder"), threads=1, cached=False).run({"image": blob})
    for name, value in expected.items():
        np.testing.assert_allclose(answer[name], value, atol=2e-5)
