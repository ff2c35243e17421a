"""What is found out before a plan runs: no device, no library, a plan that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.runtimes.cuda import api as cuda_module
from sam_edge.runtimes.cuda.errors import check_index
from sam_edge.runtimes.tensorrt import device as device_module
from sam_edge.runtimes.tensorrt.device import device_problems, find_gpu
from sam_edge.runtimes.tensorrt.session import TensorRtSession
from tests.runtimes.tensorrt.simulated_tensorrt import Logger, SimulatedRuntime, Simulation


def test_a_plan_that_has_no_room_is_kept(
    simulation: Simulation, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = simulation.build(encoder)

    def refuse(runtime: SimulatedRuntime, serialized_engine: bytes) -> None:
        runtime.logger.log(
            Logger.ERROR, "Requested amount of GPU memory (9437184 bytes) could not be allocated"
        )

    monkeypatch.setattr(SimulatedRuntime, "deserialize_cuda_engine", refuse)
    with pytest.raises(EngineError, match=r"9\.0 MiB .* 1024 of 1024 MiB"):
        TensorRtSession(encoder, gpu=simulation.gpu, plan=plan)
    assert plan.exists()


def test_without_a_cuda_binding_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "_is_installed", lambda name: False)
    monkeypatch.setattr(cuda_module, "_opened", {})
    monkeypatch.setattr(cuda_module, "probe", lambda: None)
    with pytest.raises(MissingExtraError, match=r"sam-edge\[tensorrt\]"):
        find_gpu()


def test_tensorrt_is_not_touched_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(index: int) -> None:
        check_index(index, 0)

    monkeypatch.setattr(device_module, "find_cuda", no_device)
    monkeypatch.setattr(device_module, "load_tensorrt", lambda: pytest.fail("TensorRT was touched"))
    problem = device_problems()["cuda"]
    assert problem is not None
    assert "nvidia-smi" in problem
