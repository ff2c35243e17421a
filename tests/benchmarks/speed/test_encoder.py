"""A small encoder on a runtime and in PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.speed.encoder import EAGER, main
from sam_edge.benchmarks.speed.flops import count_flops
from sam_edge.exporters import random_graphs
from sam_edge.modeling import families
from tests.modeling.tiny_sam import TINY

QUICKLY = ["--family", "tiny", "--runtime", "onnxruntime:cpu", "--rounds", "1", "--threads", "1"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A graph and its eager twin, exported once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.FAMILIES, "tiny", TINY)
        made: tuple[object, ...] = random_graphs.write_encoder("tiny", tmp_path_factory.mktemp("encoder"))
    return made


@pytest.fixture(autouse=True)
def small(written: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, quick_gemm: None) -> Iterator[None]:
    """The benchmark gets that graph; the number of PyTorch's threads is given back."""
    monkeypatch.setattr(random_graphs, "write_encoder", lambda family, folder: written)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_report() -> None:
    answer = CliRunner().invoke(main, [*QUICKLY, "--json"])
    assert answer.exit_code == 0
    report = json.loads(answer.output)
    row = report["onnxruntime:cpu"]
    assert (report["family"], report["threads"], report["rounds"]) == ("tiny", 1, 1)
    assert min(row["ms"], report[EAGER]["ms"], report["gflop"], row["times_gemm"]) >= 0
    assert 0 < row["embedding_rms"] < 1e-4


def test_ratios_of_known_times(
    written: tuple[Path, object], known_ms: Callable[[Mapping[str, float]], None]
) -> None:
    gemm_ms = 1e6 * 2 * 2048**3 / count_flops(written[0]) / 1e6
    # The graph's operations take 1 ms at that rate.
    known_ms({"onnxruntime:cpu": 2, EAGER: 7, "gemm": gemm_ms})
    report = json.loads(CliRunner().invoke(main, [*QUICKLY, "--json"]).output)
    row = report["onnxruntime:cpu"]
    assert (row["ms"], report[EAGER]["ms"], row["faster_than_eager"]) == (2, 7, 3.5)
    assert row["times_gemm"] == pytest.approx(2)


def test_table() -> None:
    answer = CliRunner().invoke(main, QUICKLY)
    assert [line.split()[0] for line in answer.output.splitlines()] == ["tiny:", "pytorch", "onnxruntime:cpu"]
