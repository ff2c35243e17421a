"""`sam-edge build` from the outside, on a machine without a GPU and on one with a stand-in for TensorRT."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest

from sam_edge.bundle.folder import Bundle, find_bundle, write_bundle
from sam_edge.cli import main
from sam_edge.host.machine import Machine, read_machine
from sam_edge.runtimes.tensorrt import cli as command
from sam_edge.runtimes.tensorrt import dry_run
from sam_edge.runtimes.tensorrt.api import TensorRtModule
from sam_edge.runtimes.tensorrt.device import PlanDevice
from sam_edge.runtimes.tensorrt.plans import BuildEnvironment
from tests.exporters.lint.graphs import quantized_linear
from tests.fixtures.commands import Answer
from tests.runtimes.tensorrt.fake_builder import FakeTrt

ORIN = PlanDevice("10.3.0", "540.4.0", "12.6", "Orin", "8.7", 8, "36.4.3")


@pytest.fixture
def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run the command on a machine without a GPU, with an empty cache."""
    machine: Machine = read_machine(tmp_path, architecture="x86_64")
    monkeypatch.setattr(command, "this_machine", lambda: machine)
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Answer:
        code = main(["build", *arguments])
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def on_orin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTrt:
    """A device, and a TensorRT that builds nothing."""
    trt = FakeTrt(inputs=("image", "embedding"))

    def environment(machine: Machine, device: str | None) -> BuildEnvironment:
        return BuildEnvironment(cast(TensorRtModule, trt), ORIN, lambda: 3000)

    monkeypatch.setattr(command, "find_build_environment", environment)
    monkeypatch.setattr(dry_run, "find_device", lambda machine, device: ORIN)
    # Its plans are empty; test_load.py compares some that compute.
    monkeypatch.setattr(command, "compare", lambda *_: "compared")
    return trt


@pytest.fixture
def bad_model(tmp_path: Path) -> Bundle:
    """A folder whose encoder is quantized with unsigned numbers."""
    contents = tmp_path / "contents"
    contents.mkdir()
    nano = find_bundle("nano")
    for name in ("decoder", "decoder_many"):
        (contents / f"{name}.onnx").write_bytes(nano.graph(name).read_bytes())
    onnx.save(quantized_linear(np.array(0, np.uint8)), contents / "encoder.onnx")
    return write_bundle(tmp_path / "bad", replace(nano.manifest, files={}), contents)


def test_a_dry_run_needs_no_gpu(build: Callable[..., Answer], tmp_path: Path) -> None:
    answer = build("nano", "--dry-run")
    assert answer.code == 0
    assert answer.err == ""
    assert "tensorrt:cuda fp32" in answer.out
    assert "device: none (no NVIDIA GPU" in answer.out
    assert f"cache: {tmp_path / 'cache' / 'tensorrt'}" in answer.out
    assert "  image 1x3x32..512x32..512, best 1x3x288x512\n" in answer.out
    assert answer.out.endswith("lint: 0 errors, 0 warnings\n")
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_as_json(build: Callable[..., Answer]) -> None:
    document = json.loads(build("nano", "--dry-run", "--json", "--input", "512x288", "--workspace", "64").out)
    assert document["device"] is None
    assert document["workspace_mb"] == 64
    encoder, decoder, _ = document["graphs"]
    assert encoder["inputs"]["image"] == {side: [1, 3, 288, 512] for side in ("least", "best", "most")}
    assert decoder["inputs"]["has_mask"]["best"] == [1]
    assert (document["errors"], document["linted"], encoder["findings"]) == (0, True, [])


def test_what_the_lint_finds_is_exit_code_1(build: Callable[..., Answer], bad_model: Bundle) -> None:
    answer = build(str(bad_model.path), "--dry-run")
    assert answer.code == 1
    assert "  error: node the QuantizeLinear (QuantizeLinear): its quantized type is uint8" in answer.out
    document = json.loads(build(str(bad_model.path), "--dry-run", "--json").out)
    assert document["errors"] == 2
    assert {finding["operator"] for finding in document["graphs"][0]["findings"]} == {
        "QuantizeLinear",
        "DequantizeLinear",
    }


def test_what_the_lint_finds_is_not_built(
    build: Callable[..., Answer], bad_model: Bundle, on_orin: FakeTrt
) -> None:
    answer = build(str(bad_model.path))
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert "(QuantizeLinear): its quantized type is uint8" in answer.err
    assert on_orin.built == 0


def test_plans_are_built_and_found_again(
    build: Callable[..., Answer], on_orin: FakeTrt, tmp_path: Path
) -> None:
    answer = build("nano")
    assert answer.code == 0
    assert "encoder: built in " in answer.out
    assert answer.out.endswith(f"plans are in {tmp_path / 'cache' / 'tensorrt'}\n")
    assert "building encoder\n" in answer.err
    assert answer.err.endswith("compared\n")
    assert "encoder: ready, it still fits" in build("nano").out
    assert on_orin.built == 3
    planned = build("nano", "--dry-run").out
    assert "device: Orin, compute capability 8.7, TensorRT 10.3.0, driver 540.4.0" in planned
    assert "encoder.onnx, ready" in planned
    assert "encoder.onnx, to be built" in build("nano", "--dry-run", "--input", "512x288").out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("nano",), "no NVIDIA GPU with its driver is here"),
        (("nowhere",), "nowhere is not a model"),
        (("nano", "--dry-run", "--input", "640x384"), "the longer side is 512"),
        (("nano", "--dry-run", "--input", "512"), "not of the form WxH"),
        (("nano", "--dry-run", "--precision", "fp16"), "no fp16 engine for tensorrt"),
        (("nano", "--dry-run", "--workspace", "0"), "--workspace"),
        (("nano", "--dry-run", "--device", "NPU"), "'NPU'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], part: str, build: Callable[..., Answer], tmp_path: Path
) -> None:
    answer = build(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert part in answer.err
    assert not (tmp_path / "cache").exists()


WITHOUT_ONNX = """
import sys
sys.modules["onnx"] = sys.modules["torch"] = None
from sam_edge.cli import main
sys.exit(main(["build", "nano", "--dry-run"]))
"""


def test_without_onnx_the_lint_is_left_out(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_ONNX]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "sam-edge[export]" in done.stdout.splitlines()[-1]
