"""Which shapes a graph's inputs may have, when it is built for a range of frames or for one input."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.shapes import MOST_PROMPTS, ShapeRange, graph_shapes
from sam_edge.errors import BundleError, InputError
from sam_edge.geometry import InputSize

NANO = find_bundle("nano")


@given(width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_a_plan_for_every_size_takes_every_frame(width: int, height: int) -> None:
    shape = graph_shapes(NANO.manifest, "encoder", None)["image"]
    image = NANO.manifest.input_size.view((width, height)).encoder_wh
    for least, side, most in zip(shape.least, (1, 3, *image[::-1]), shape.most, strict=True):
        assert least <= side <= most


@given(rows=st.integers(1, 16))
def test_sizes_of_all_graphs_follow_from_the_image(rows: int) -> None:
    encoder, decoder = (graph_shapes(NANO.manifest, name, (512, 32 * rows)) for name in ("encoder", "decoder"))
    assert encoder["image"].best == (1, 3, 32 * rows, 512)
    assert decoder["embedding"].best == (1, 96, 2 * rows, 32)
    assert decoder["mask_logits"].best == (1, 1, 8 * rows, 128)
    assert decoder["point_coords"] == ShapeRange((1, 7, 2), (1, 7, 2), (MOST_PROMPTS, 7, 2))
    assert all(shape.fixed for shape in (*encoder.values(), decoder["embedding"], decoder["skip4"]))


def test_tuned_for_what_cameras_send() -> None:
    shape = graph_shapes(NANO.manifest, "encoder", None)["image"]
    assert shape.best == (1, 3, 288, 512)
    assert str(shape) == "1x3x32..512x32..512, best 1x3x288x512"


@pytest.mark.parametrize("input_wh", [(640, 384), (512, 300), (256, 256), (512, 0), (512, -32)])
def test_sizes_that_no_frame_has(input_wh: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="such as 512x288"):
        graph_shapes(NANO.manifest, "encoder", input_wh)


def _with_size(size: InputSize) -> Bundle:
    return Bundle(NANO.path, replace(NANO.manifest, input_size=size))


def test_a_model_of_one_size_is_built_for_that() -> None:
    manifest = _with_size(InputSize(512, 32, square=True)).manifest
    assert graph_shapes(manifest, "encoder", None)["image"].fixed
    assert graph_shapes(manifest, "encoder", (512, 512))["image"].best == (1, 3, 512, 512)
    with pytest.raises(InputError, match="this model's input is 512x512: leave --input out"):
        graph_shapes(manifest, "encoder", (512, 288))


def test_a_size_that_follows_from_nothing_is_named() -> None:
    graph = NANO.manifest.graphs["encoder"]
    odd = replace(graph, inputs=(replace(graph.inputs[0], name="other", shape=(1, "people")),))
    manifest = replace(NANO.manifest, graphs={**NANO.manifest.graphs, "odd": odd})
    with pytest.raises(BundleError, match="size people of input other"):
        graph_shapes(manifest, "odd", None)
