"""What is found out before an engine runs: no device, no library, a plan that is not for here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sam_edge.errors import BundleError, EngineError, MissingExtraError, OutputError, PlanError
from sam_edge.runtimes.cuda import api as cuda_module
from sam_edge.runtimes.tensorrt import session as tensorrt_module
from sam_edge.runtimes.tensorrt.plan_cache import find_plan
from sam_edge.runtimes.tensorrt.session import TensorRtSession, describe, device_problems, plan_device
from tests.runtimes.tensorrt.graphs import write_encoder
from tests.runtimes.tensorrt.simulated_tensorrt import Logger, Simulate, SimulatedRuntime


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path)


def test_a_plan_of_another_device_is_not_loaded(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    simulation.build(encoder)
    simulation.cuda.device = replace(simulation.cuda.device, name="Other", sm_count=16)
    with pytest.raises(BundleError, match="device name Simulated, here is Other: run sam-edge build"):
        TensorRtSession(encoder, gpu=simulation.gpu, folder=simulation.folder)


def test_a_plan_that_tensorrt_refuses_is_an_error_with_its_reason(
    simulate: Simulate, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = simulate()
    monkeypatch.setattr("tests.runtimes.tensorrt.simulated_tensorrt.MARK", b"strange:")
    simulation.build(encoder)
    monkeypatch.undo()
    plan = find_plan(encoder, describe(simulation.gpu), None, simulation.folder)
    with pytest.raises(PlanError, match=r"encoder\.onnx: Magic tag does not match: run sam-edge build"):
        TensorRtSession(encoder, gpu=simulation.gpu, folder=simulation.folder)
    # Its key says that it fits: kept, it would never be built anew.
    assert not plan.exists()


def test_a_refused_plan_that_cannot_be_removed_keeps_its_reason(
    simulate: Simulate, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = simulate()
    monkeypatch.setattr("tests.runtimes.tensorrt.simulated_tensorrt.MARK", b"strange:")
    simulation.build(encoder)
    monkeypatch.undo()

    def refuse(path: Path) -> None:
        raise OutputError(f"cannot write {path}")

    monkeypatch.setattr(tensorrt_module, "discard_plan", refuse)
    with pytest.raises(PlanError, match="Magic tag does not match"):
        TensorRtSession(encoder, gpu=simulation.gpu, folder=simulation.folder)


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        ("out of memory", r"memory; 1024 of"),
        (
            "Requested amount of GPU memory (9437184 bytes) could not be allocated",
            r"allocated; out of device memory: 9\.0 MiB were asked, 1024 of",
        ),
    ],
)
def test_a_plan_that_has_no_room_is_kept(
    simulate: Simulate, encoder: Path, monkeypatch: pytest.MonkeyPatch, complaint: str, told: str
) -> None:
    simulation = simulate()
    plan = simulation.build(encoder)
    assert plan is not None

    def refuse(runtime: SimulatedRuntime, serialized_engine: bytes) -> None:
        runtime.logger.log(Logger.ERROR, complaint)

    monkeypatch.setattr(SimulatedRuntime, "deserialize_cuda_engine", refuse)
    with pytest.raises(EngineError, match=f"{told} 1024 MiB are free on Simulated; close other programs"):
        TensorRtSession(encoder, gpu=simulation.gpu, folder=simulation.folder)
    assert plan.exists()


def test_a_damaged_plan_is_removed_and_never_loaded(simulate: Simulate, encoder: Path) -> None:
    simulation = simulate()
    simulation.build(encoder)
    plan = find_plan(encoder, describe(simulation.gpu), None, simulation.folder)
    plan.write_bytes(plan.read_bytes() + b"!")
    with pytest.raises(BundleError, match="damaged and has been removed"):
        TensorRtSession(encoder, gpu=simulation.gpu, folder=simulation.folder)
    assert not plan.exists()


def test_without_a_cuda_binding_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "_is_installed", lambda name: False)
    monkeypatch.setattr(cuda_module, "_opened", {})
    monkeypatch.setattr(cuda_module, "probe", lambda: None)
    with pytest.raises(MissingExtraError, match=r"cuda-python is not installed: .*sam-edge\[tensorrt\]"):
        plan_device()


def test_tensorrt_is_not_touched_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(index: int = 0) -> None:
        cuda_module.check_index(index, 0)

    monkeypatch.setattr(tensorrt_module, "find_cuda", no_device)
    monkeypatch.setattr(tensorrt_module, "load_tensorrt", lambda: pytest.fail("TensorRT was touched"))
    with pytest.raises(EngineError, match="sees no CUDA device"):
        plan_device()
    problem = device_problems()["cuda"]
    assert problem is not None
    assert "nvidia-smi" in problem


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="no CUDA device 3: choose one of 0 to 1"):
        cuda_module.check_index(3, 2)
