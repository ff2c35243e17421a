"""On which device plans are built, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.host.machine import Machine, read_machine
from sam_edge.runtimes.cuda import api as cuda
from sam_edge.runtimes.tensorrt import plans as tensorrt_plans
from sam_edge.runtimes.tensorrt.plan_cache import PlanDevice
from sam_edge.runtimes.tensorrt.plans import find_device

ORIN = PlanDevice("10.3.0", "540.4.0", "12.6", "Orin", "8.7", 8, "36.4.3")


def _machine(root: Path, cuda: bool = False, jetson: bool = False) -> Machine:
    if cuda:
        for file in ("dev/nvidia0", "usr/lib/x86_64-linux-gnu/libcuda.so.1"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
    if jetson:
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1")
    machine: Machine = read_machine(root, architecture="x86_64")
    return machine


def test_without_a_gpu_tensorrt_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_plans, "this_device", lambda device: pytest.fail("touched"))
    with pytest.raises(EngineError, match=r"no NVIDIA GPU .*do this there$"):
        find_device(_machine(tmp_path))


def test_with_a_gpu_the_device_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_plans, "this_device", lambda device: ORIN)
    assert find_device(_machine(tmp_path, cuda=True)) is ORIN


@pytest.mark.parametrize(("name", "index"), [(None, 0), ("cuda", 0), ("cuda.1", 1)])
def test_plans_are_built_on_the_gpu_that_is_named(
    name: str | None, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def this_device(device: str | None) -> PlanDevice:
        asked.append(device)
        return ORIN

    def find_cuda(index: int) -> SimpleNamespace:
        asked.append(index)
        return SimpleNamespace(enter=None)

    monkeypatch.setattr(tensorrt_plans, "this_device", this_device)
    monkeypatch.setattr(cuda, "find_cuda", find_cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    tensorrt_plans.find_build_environment(_machine(tmp_path, cuda=True), name)
    assert asked == [name, index]


@pytest.mark.parametrize("jetson", [False, True])
def test_free_memory(jetson: bool, tmp_path: Path) -> None:
    machine = _machine(tmp_path, cuda=True, jetson=jetson)
    gpu = SimpleNamespace(memory=lambda: (100 << 20, 7000 << 20))
    memory = tensorrt_plans._memory(gpu, machine)
    assert memory.total_mb == 7000
    # On Jetson the file cache gives way.
    assert (memory.free_mb > 100) == jetson


def test_a_missing_cuda_binding_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: str | None) -> PlanDevice:
        raise MissingExtraError("cuda-python", "tensorrt")

    monkeypatch.setattr(tensorrt_plans, "this_device", missing)
    with pytest.raises(MissingExtraError, match=r"sam-edge\[tensorrt\]"):
        tensorrt_plans.find_build_environment(_machine(tmp_path, cuda=True))
