"""The benchmark's arithmetic, on graphs whose operations are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.speed.decoder import main
from sam_edge.exporters import random_graphs

QUICKLY = ["--runtime", "onnxruntime:cpu", "--rounds", "1", "--threads", "1"]
SIDES = {
    "decoder": 64,
    "decoder_many": 96,
    "plain_decoder": 128,
    "plain_decoder_many": 128,
    "official_decoder": 128,
}
"""Graph -> width of the matrix that it multiplies by."""


def write(path: Path, side: int) -> Path:
    """logits = (embedding embedding^T) weights, with a prompt that does nothing."""
    shapes: dict[str, list[int | str]] = {
        "embedding": [64, 64],
        "weights": [64, side],
        "point_coords": [1, "points", 2],
        "point_labels": [1, "points"],
        "logits": [64, side],
    }
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    node = helper.make_node("MatMul", ["embedding", "weights"], ["logits"])
    graph = helper.make_graph([node], "decoder", values[:-1], values[-1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_gemm: None) -> Callable[..., str]:
    """What the benchmark says of these graphs."""
    graphs = {name: write(tmp_path / f"{name}.onnx", side) for name, side in SIDES.items()}
    monkeypatch.setattr(random_graphs, "write_decoders", lambda folder: graphs)

    def call(*arguments: str) -> str:
        answer = CliRunner().invoke(main, [*QUICKLY, *arguments])
        assert answer.exit_code == 0
        return answer.output

    return call


def test_report(measured: Callable[..., str]) -> None:
    rows: dict[str, Any] = json.loads(measured("--json"))["decoders"]
    *ours, official = SIDES
    assert list(rows) == [*(f"{name} onnxruntime:cpu" for name in ours), f"{official} onnxruntime"]
    assert all(row["ms"] >= 0 for row in rows.values())
    cut, many, plain, _, _ = rows.values()
    assert (cut["flops_of_plain"], many["flops_of_plain"]) == (0.5, 0.75)
    assert {"faster_than_plain", "faster_than_official"} <= set(cut)
    assert not {"faster_than_plain", "faster_than_official"} & set(plain)


GEMM_MS = 16384.0
"""Of 2 * 2048^3 operations: 1,048,576 in a millisecond, two of the smallest graph's."""


def test_ratios_of_known_times(
    measured: Callable[..., str], known_ms: Callable[[Mapping[str, float]], None]
) -> None:
    times = {"decoder": 2, "decoder_many": 5, "plain_decoder": 6, "plain_decoder_many": 20}
    ms = {f"{name} onnxruntime:cpu": value for name, value in times.items()}
    known_ms({**ms, "official_decoder onnxruntime": 9, "gemm": GEMM_MS})
    rows = json.loads(measured("--json"))["decoders"].values()
    assert [row["ms"] for row in rows] == [2, 5, 6, 20, 9]
    assert [row.get("faster_than_plain") for row in rows] == [3, 4, None, None, None]
    assert [row.get("faster_than_official") for row in rows] == [4.5, None, None, None, None]
    # As many operations take 0.5, 0.75 and 1 ms at the rate of the product.
    assert [row.get("times_gemm") for row in rows] == [4, 6.67, 6, 20, None]


def test_table(measured: Callable[..., str]) -> None:
    heading, *lines = measured().splitlines()
    assert heading.endswith("medians of 1")
    assert len(lines) == len(SIDES)
    assert "50% FLOPs" in lines[0]
