"""What a manifest says of its graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sam_edge.bundle.folder import MANIFEST, find_bundle, read_manifest
from sam_edge.bundle.manifest import Graph
from sam_edge.errors import BundleError
from sam_edge.tensors import TensorSpec
from tests.disc_model import GRAPHS, disc_bundle, disc_manifest


def decoder(slots: int, batch: int | str = 1) -> Graph:
    return Graph("any.onnx", (TensorSpec("point_labels", (batch, slots)),), (), "decoder")


def test_a_graph_tells_its_role_and_slots_whatever_it_is_called() -> None:
    # The names are the wrong way round on purpose.
    graphs = {"decoder": GRAPHS["encoder"], "encoder": decoder(12), "a": decoder(2), "b": decoder(2, "n")}
    manifest = replace(disc_manifest(), graphs=graphs)
    assert [(name, graph.slots) for name, graph in manifest.decoders.items()] == [
        ("a", 2),
        ("b", 2),
        ("encoder", 12),
    ]
    assert [graph.is_batched for graph in manifest.decoders.values()] == [False, True, False]
    assert graphs["decoder"].slots == 0


def test_the_graph_of_a_file_is_found_in_every_precision() -> None:
    manifest = replace(disc_manifest(), engines={"openvino-fp16": {"decoder": "d.half.onnx"}})
    assert manifest.graph_of("d.half.onnx") == manifest.graph_of("decoder.onnx") == GRAPHS["decoder"]
    assert manifest.graph_of("encoder.onnx").role == "encoder"
    with pytest.raises(BundleError, match=r"other\.onnx"):
        manifest.graph_of("other.onnx")


def test_a_manifest_is_read_without_its_files(tmp_path: Path) -> None:
    bundle = disc_bundle(tmp_path)
    (bundle.path / "decoder.onnx").unlink()
    assert read_manifest(bundle.path / MANIFEST) == bundle.manifest
    with pytest.raises(BundleError, match=r"none\.json"):
        read_manifest(tmp_path / "none.json")


def test_the_shipped_model_has_roles() -> None:
    graphs = find_bundle("nano").manifest.graphs
    assert {name: (graph.role, graph.slots) for name, graph in graphs.items()} == {
        "encoder": ("encoder", 0),
        "decoder": ("decoder", 7),
        "decoder_many": ("decoder", 22),
    }
