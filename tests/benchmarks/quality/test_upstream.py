"""Differences from stored outputs are seen where they are, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.quality.upstream import main
from sam_edge.bundle.folder import find_bundle
from sam_edge.exporters import export as export_module
from sam_edge.loading import load
from sam_edge.modeling.nano.model import build_nano
from sam_edge.prompt import Prompt

WEIGHTS = """
import numpy as np
def state_dict(manifest):
    with np.load(manifest.with_name("weights.npz")) as file:
        return {name: file[name] for name in file.files}
"""


@pytest.fixture
def fixtures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the shipped nano answers, and weights of an untrained one, whose export is the shipped one."""
    folder = tmp_path / "fixtures"
    folder.mkdir()
    (folder / "fixture_weights.py").write_text(WEIGHTS)
    torch.manual_seed(0)
    weights = {name: value.numpy() for name, value in build_nano(fused=True).state_dict().items()}
    np.savez(folder / "weights.npz", **weights)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    points, labels = np.array([[30.0, 20.0]]), np.array([1])
    with load("nano", runtime="onnxruntime") as segmenter:
        embedding = segmenter.encode(image)
        masks = segmenter.decode(embedding, Prompt.points(points, labels), multimask=True)
    stored: dict[str, Any] = {
        "image": image,
        "point/in/point_coords": points,
        "point/in/point_labels": labels,
        "point/multimask1/logits": masks.logits,
        "point/multimask1/iou": masks.predicted_iou,
        "point/multimask1/mask_bits": np.packbits(masks.binary, axis=-1),
    }
    np.savez(folder / "nano.npz", **{f"desk/{name}": value for name, value in stored.items()})
    monkeypatch.setattr(export_module, "export", lambda checkpoint, out, family: find_bundle("nano").path)
    return folder


def test_a_line_for_each_computation(fixtures: Path) -> None:
    answer = CliRunner().invoke(main, [str(fixtures), "--family", "nano"])
    assert answer.exit_code == 0, answer.output
    lines = {line.split()[0]: line for line in answer.output.splitlines()}
    assert list(lines) == ["torch.float32", "torch.float64", "onnxruntime"]
    same = "logits 0.0000, 99 % within 0.0000; IoU 0.0000; masks 1.00000"
    assert {who: same in line for who, line in lines.items()} == {
        "torch.float32": False,
        "torch.float64": False,
        "onnxruntime": True,
    }
