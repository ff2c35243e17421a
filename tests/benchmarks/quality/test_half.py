"""Weights drawn with a seed, exported in float16."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed: pip install 'sam-edge[export]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.quality.half import main, table
from sam_edge.exporters import export as export_module
from sam_edge.fidelity.images import textured_image
from sam_edge.imaging.image import write_image
from sam_edge.modeling import families
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import TINY, tiny_sam


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(families.FAMILIES, "tiny", replace(TINY, build=tiny_sam))
    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, textured_image((128, 96)))
    return str(tmp_path)


def test_float16_is_held_against_pytorch(photos: str) -> None:
    done = CliRunner().invoke(main, [photos, "--family", "tiny", "--limit", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    # And the engine that is the default here.
    assert {"emulation-fp16", "onnxruntime:cpu-fp32", "onnxruntime:cpu-fp16"} <= set(found)
    # The float32 graphs are nearer to the model than any float16 engine is.
    exact = found["onnxruntime:cpu-fp32"]
    halves = [one for engine, one in found.items() if engine.endswith("fp16")]
    assert all(one["logits_rms"] > 10 * exact["logits_rms"] for one in halves)
    rows = {line.split()[0]: line.split()[1] for line in table("tiny", found).splitlines()[1:]}
    assert rows == {engine: f"{one['mask_iou_mean']:.5f}" for engine, one in found.items()}


def test_an_unknown_family_is_one_line(photos: str) -> None:
    done = CliRunner().invoke(main, [photos, "--family", "magic"])
    assert done.exit_code == 2
    assert "'magic': choose one of" in done.output
