"""Stages of a model on the runtime that was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.benchmarks.speed.stages import main

QUICKLY = ["--runtime", "onnxruntime", "--size", "96x64", "--rounds", "1", "--threads", "1"]


@pytest.mark.usefixtures("quick_gemm")
def test_every_stage_is_timed() -> None:
    answer = CliRunner().invoke(main, [*QUICKLY, "--json"])
    assert answer.exit_code == 0
    numbers = json.loads(answer.output)
    assert numbers.pop("engine") == "onnxruntime:cpu fp32"
    assert set(numbers) == {
        *("encode_ms", "decode_ms", "full_size_ms", "gemm_ms"),
        *("encode_per_s", "decode_per_s", "gemm_gflops"),
    }
    assert all(value > 0 for value in numbers.values())
    assert numbers["encode_per_s"] == pytest.approx(1e3 / numbers["encode_ms"], rel=0.1)


def test_rates_of_known_times(known_ms: Callable[[Mapping[str, float]], None]) -> None:
    known_ms({"encode": 20, "decode": 4, "full_size": 1, "gemm": 171.79869184})
    numbers = json.loads(CliRunner().invoke(main, [*QUICKLY, "--json"]).output)
    assert (numbers["encode_per_s"], numbers["decode_per_s"], numbers["gemm_gflops"]) == (50, 250, 100)


@pytest.mark.usefixtures("quick_gemm")
def test_table() -> None:
    lines = CliRunner().invoke(main, QUICKLY).output.splitlines()
    assert lines[0].split() == ["engine", "onnxruntime:cpu", "fp32"]


def test_no_other_runtime_is_imported() -> None:
    code = (
        "import sys\n"
        "from sam_edge.benchmarks.speed import stages\n"
        "stages.gemm_call = lambda: lambda: None\n"
        "stages.main(sys.argv[1:], standalone_mode=False)\n"
        "print(*[name for name in ('onnxruntime', 'openvino') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *QUICKLY]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "onnxruntime"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runtime", "tpu"], "unknown runtime 'tpu'"),
        (["--runtime", "onnxruntime:tpu"], "choose one of onnxruntime:cpu"),
        (["--size", "12"], "--size '12' is not of the form WxH"),
        (["--model", "none"], "none is not a model"),
    ],
)
def test_what_is_not_here_is_one_line(arguments: list[str], message: str) -> None:
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    assert message in answer.stderr
