"""A folder's engines: which graphs a runtime and a precision open, and what the manifest remembers of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sam_edge.bundle.folder import ASSETS, find_bundle, write_bundle
from sam_edge.bundle.manifest import FORMAT, EngineSpec, dump
from sam_edge.bundle.reading import parse
from sam_edge.errors import BundleError
from tests.disc_model import disc_bundle, disc_manifest

HALF = EngineSpec("openvino:GPU", "fp16")


def test_devices_share_graphs_and_not_fidelity() -> None:
    assert HALF.key == "openvino:GPU-fp16"
    assert HALF.graphs_key == EngineSpec("openvino", "fp16").graphs_key == "openvino-fp16"
    assert str(HALF) == "openvino:GPU fp16"


def test_what_the_processor_was_measured_to_be_says_nothing_of_a_gpu() -> None:
    manifest = replace(disc_manifest(), fidelity={"openvino:CPU-fp32": {"mask_iou_mean": 1.0}})
    assert manifest.measured(EngineSpec("openvino:CPU")) == {"mask_iou_mean": 1.0}
    for other in ("openvino:GPU", "openvino:AUTO", "onnxruntime:cpu"):
        assert manifest.measured(EngineSpec(other)) is None


def test_engines_survive_the_manifest() -> None:
    manifest = replace(
        disc_manifest(),
        engines={"openvino-fp16": {"encoder": "encoder.openvino.fp16.onnx"}},
        raised={"openvino-fp16": ["encoder/conv", "decoder/softmax"]},
    )
    assert parse(dump(manifest), "manifest.json") == manifest


def test_manifests_without_engines_are_as_they_were() -> None:
    document = json.loads(dump(disc_manifest()))
    assert not document.keys() & {"engines", "raised"}
    shipped = json.loads((ASSETS / "nano" / "manifest.json").read_text())
    assert shipped["format"] == FORMAT
    nano = find_bundle("nano")
    assert nano.graph("encoder", HALF) == nano.graph("encoder")


def test_what_is_made_and_measured_leaves_the_model_the_same() -> None:
    plain = replace(disc_manifest(), files={"encoder.onnx": "1"})
    made = replace(
        plain,
        files={"encoder.onnx": "1", "e.fp16.onnx": "2", "e.fp16.onnx.data": "3"},
        engines={"openvino-fp16": {"encoder": "e.fp16.onnx"}},
        fidelity={HALF.key: {"passed": 1.0}},
    )
    assert made.model_id == plain.model_id
    assert replace(plain, files={"encoder.onnx": "9"}).model_id != plain.model_id


def test_an_engine_opens_its_graphs_and_the_sources_else(tmp_path: Path) -> None:
    bundle = disc_bundle(tmp_path)
    contents = tmp_path / "contents"
    for file in bundle.manifest.files:
        (contents / file).write_bytes((bundle.path / file).read_bytes())
    (contents / "encoder.openvino.fp16.onnx").write_bytes(b"half")
    manifest = replace(bundle.manifest, engines={"openvino-fp16": {"encoder": "encoder.openvino.fp16.onnx"}})
    bundle = write_bundle(bundle.path, manifest, contents)
    assert bundle.graph("encoder", HALF).read_bytes() == b"half"
    assert bundle.graph("decoder", HALF) == bundle.graph("decoder")
    assert bundle.graph("encoder", EngineSpec("tensorrt", "fp16")) == bundle.graph("encoder")
    (bundle.path / "encoder.openvino.fp16.onnx").write_bytes(b"more")
    with pytest.raises(BundleError, match=r"encoder\.openvino\.fp16\.onnx was edited"):
        bundle.graph("encoder", HALF)
    assert bundle.graph("encoder").is_file()
