"""A machine is what its files say, and any file may be missing or nonsense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.host.advice import cuda_install, system_advice, tensorrt_install, tensorrt_unavailable
from sam_edge.host.cores import usable_cores
from sam_edge.host.machine import Device, Machine, read_machine
from sam_edge.runtimes import onnxruntime, openvino, tensorrt
from tests.host.machines import MACHINES, bare_arm, jetson, npu_laptop, nvidia_desktop, old_jetson


def test_jetson(tmp_path: Path) -> None:
    machine = jetson(tmp_path)
    assert machine.l4t == (36, 4, 3)
    assert machine.module == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert machine.cuda_nodes == ("nvgpu/igpu0", "nvhost-gpu")
    assert machine.has_cuda
    assert machine.is_jetson
    assert machine.cores == 6
    assert machine.memory_mb == 7623
    assert machine.gpus == (Device("renderD128", "tegra-host1x"),)
    assert "asimddp" in machine.cpu_flags


def test_nvidia_desktop(tmp_path: Path) -> None:
    machine = nvidia_desktop(tmp_path)
    assert (machine.cuda_nodes, machine.cuda_names) == (("nvidia0",), ("NVIDIA RTX A2000",))
    assert machine.cuda_driver == "550.54.15"
    assert machine.libcuda == str(tmp_path / "usr/lib/x86_64-linux-gnu/libcuda.so.1")
    assert machine.gpus == (Device("renderD128", "nvidia"),)
    assert machine.cpu_name == "Intel(R) Core(TM) i7"
    assert not machine.is_jetson
    # Eight hyperthreads are four cores.
    assert machine.cores == 4


def test_npu_laptop_and_bare_arm(tmp_path: Path) -> None:
    laptop = npu_laptop(tmp_path / "laptop")
    assert laptop.npus == (Device("accel0", "intel"),)
    assert not laptop.has_cuda
    board = bare_arm(tmp_path / "board")
    assert board.module == "Raspberry Pi 5 Model B Rev 1.0"
    assert board.gpus == (Device("renderD128", "v3d"),)
    assert not board.is_jetson


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jetson", {"tensorrt": 100, "openvino": 10}),
        ("old_jetson", {"tensorrt": 0, "openvino": 10}),
        ("nvidia_desktop", {"tensorrt": 80, "openvino": 30}),
        ("npu_laptop", {"tensorrt": 0, "openvino": 50}),
        ("bare_arm", {"tensorrt": 0, "openvino": 10}),
        ("nothing", {"tensorrt": 0, "openvino": 0}),
    ],
)
def test_scores(tmp_path: Path, name: str, expected: dict[str, int]) -> None:
    machine = MACHINES[name](tmp_path)
    assert {
        "tensorrt": tensorrt.BACKEND.score(machine),
        "openvino": openvino.BACKEND.score(machine),
    } == expected


@pytest.mark.parametrize(
    ("build_has_cuda", "on_desktop", "on_laptop"),
    [(True, 60, 40), (False, 40, 40)],
)
def test_onnxruntime_counts_a_gpu_only_if_its_build_can_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build_has_cuda: bool, on_desktop: int, on_laptop: int
) -> None:
    build = tmp_path / "onnxruntime"
    monkeypatch.setattr(
        onnxruntime, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(build)])
    )
    if build_has_cuda:
        (build / "capi").mkdir(parents=True)
        (build / onnxruntime.CUDA_LIBRARY).touch()
    assert onnxruntime.BACKEND.score(nvidia_desktop(tmp_path / "desktop")) == on_desktop
    assert onnxruntime.BACKEND.score(npu_laptop(tmp_path / "laptop")) == on_laptop


def test_cures_fit_the_machine(tmp_path: Path) -> None:
    desktop, board = nvidia_desktop(tmp_path / "desktop"), jetson(tmp_path / "jetson")
    assert tensorrt_install(desktop) == "pip install 'sam-edge[tensorrt]'"
    assert "python3-libnvinfer" in tensorrt_install(board)
    # The newest cuda-python needs a newer driver than JetPack 6 has.
    assert tensorrt_install(board).endswith("; in it pip install 'cuda-python==12.6.*'")
    assert cuda_install(board) == "pip install 'cuda-python==12.6.*'"
    assert cuda_install(desktop) == "pip install 'sam-edge[tensorrt]'"
    thor = replace(board, l4t=(38, 2, 0))
    assert "cuda-python" not in tensorrt_install(thor) + cuda_install(thor)
    assert tensorrt_unavailable(board) is None
    assert "JetPack 6.1" in (tensorrt_unavailable(old_jetson(tmp_path / "old")) or "")
    assert tensorrt_unavailable(npu_laptop(tmp_path / "laptop")) == "no NVIDIA GPU here"


def test_advice_names_the_drivers_that_would_help(tmp_path: Path) -> None:
    desktop = nvidia_desktop(tmp_path / "desktop")
    assert system_advice(desktop) == []
    assert "--gpus all" in system_advice(replace(desktop, libcuda=None))[0]
    assert "without NVIDIA's driver" in system_advice(replace(desktop, libcuda=None, cuda_nodes=()))[0]
    laptop = "\n".join(system_advice(npu_laptop(tmp_path / "laptop")))
    assert "intel-opencl-icd" in laptop
    assert "intel-driver-compiler-npu" in laptop
    assert "--runtime nvidia" in system_advice(replace(jetson(tmp_path / "jetson"), libcuda=None))[0]
    assert "JetPack 6.1" in system_advice(old_jetson(tmp_path / "old"))[0]
    board = bare_arm(tmp_path / "board")
    assert system_advice(board) == []
    locked = replace(board, gpus=(Device("renderD128", "v3d", may_open=False),))
    assert "renderD128 may not be opened: sudo usermod -aG render" in system_advice(locked)[0]


FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/self/cgroup",
    "etc/nv_tegra_release",
    "proc/device-tree/model",
    "proc/driver/nvidia/version",
    "proc/driver/nvidia/gpus/0/information",
    "sys/fs/cgroup/cpu.max",
    "sys/class/drm/renderD128/device/vendor",
)


@given(content=st.binary(max_size=200), name=st.sampled_from(FILES))
def test_any_content_is_read_without_complaint(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    nvidia_desktop(root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    machine = read_machine(root, architecture="x86_64", allowed=frozenset({0}))
    assert isinstance(machine, Machine)
    assert machine.cores == 1


def test_cores_never_exceed_affinity_hyperthreads_or_quota(tmp_path: Path) -> None:
    nvidia_desktop(tmp_path)
    assert usable_cores(tmp_path, frozenset({0, 4})) == 1
    assert usable_cores(tmp_path, frozenset({0, 1, 2})) == 3
    group = tmp_path / "sys/fs/cgroup/kubepods/pod7"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/kubepods/pod7\n")
    (group / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path, frozenset(range(8))) == 4
    (group.parent / "cpu.max").write_text("250000 100000\n")
    assert usable_cores(tmp_path, frozenset(range(8))) == 2
    (group / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(tmp_path, frozenset(range(8))) == 1


def test_the_first_kind_of_control_groups_counts_too(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup/cpu,cpuacct/docker"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,cpuacct:/docker\n1:name=systemd:/\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores(tmp_path, frozenset(range(8))) == 8
    (group / "cpu.cfs_quota_us").write_text("300000\n")
    assert usable_cores(tmp_path, frozenset(range(8))) == 3


def test_in_a_container_the_group_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/../../host/name\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("200000 100000\n")
    assert usable_cores(tmp_path, frozenset(range(8))) == 2
