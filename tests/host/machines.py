"""Folders that look like the root of other machines, for everything that reads a machine from its files."""

# ruff: noqa: N802 (a driver's functions have the names that NVIDIA gave them)

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sam_edge.host.machine import Machine, read_machine

ARM_CPU = "".join(
    f"processor\t: {number}\nBogoMIPS\t: 62.50\nFeatures\t: fp asimd evtstrm aes asimddp\n\n"
    for number in range(6)
)
MEMORY = "MemTotal:        7806012 kB\nMemFree:          512000 kB\n"
SIBLINGS = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
L4T = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
)


def jetson(root: Path) -> Machine:
    """Orin Nano with JetPack 6.2."""
    _fill(
        root,
        {
            "proc/cpuinfo": ARM_CPU,
            "proc/meminfo": MEMORY,
            "etc/nv_tegra_release": L4T,
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "dev/nvhost-gpu": "",
            "dev/nvgpu/igpu0/ctrl": "",
            "dev/dri/renderD128": "",
            "sys/class/drm/renderD128/device/uevent": "DRIVER=tegra-host1x\n",
            "usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1": "",
        },
    )
    return read_machine(root, architecture="aarch64", allowed=frozenset(range(6)))


def old_jetson(root: Path) -> Machine:
    """The same with JetPack 5.1, whose TensorRT is 8.5."""
    jetson(root)
    (root / "etc/nv_tegra_release").write_text(
        "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n"
    )
    return read_machine(root, architecture="aarch64", allowed=frozenset(range(6)))


def nvidia_desktop(root: Path) -> Machine:
    """Eight hyperthreads of four cores, and a discrete GPU with its driver."""
    _fill(
        root,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7\nflags\t\t: fpu avx2 fma\n",
            "proc/meminfo": MEMORY,
            "dev/nvidia0": "",
            "dev/nvidiactl": "",
            "dev/nvidia-uvm": "",
            "dev/dri/renderD128": "",
            "sys/class/drm/renderD128/device/vendor": "0x10de\n",
            "proc/driver/nvidia/version": (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
                "GCC version:  gcc version 12.3.0\n"
            ),
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA RTX A2000\nIRQ: \t 130\n",
            "usr/lib/x86_64-linux-gnu/libcuda.so.1": "",
            **{SIBLINGS.format(number): f"{number % 4},{number % 4 + 4}\n" for number in range(8)},
        },
    )
    return read_machine(root, architecture="x86_64", allowed=frozenset(range(8)))


def npu_laptop(root: Path) -> Machine:
    """An Intel laptop: its GPU, its NPU, no NVIDIA."""
    _fill(
        root,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) Ultra\nflags\t\t: avx2 avx_vnni\n",
            "proc/meminfo": MEMORY,
            "dev/dri/renderD128": "",
            "sys/class/drm/renderD128/device/vendor": "0x8086\n",
            "dev/accel/accel0": "",
            "sys/class/accel/accel0/device/vendor": "0x8086\n",
        },
    )
    return read_machine(root, architecture="x86_64", allowed=frozenset(range(4)))


def bare_arm(root: Path) -> Machine:
    """A Raspberry Pi 5."""
    _fill(
        root,
        {
            "proc/cpuinfo": ARM_CPU,
            "proc/meminfo": MEMORY,
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "dev/dri/renderD128": "",
            "sys/class/drm/renderD128/device/uevent": "DRIVER=v3d\nMODALIAS=of:NgpuT(null)\n",
        },
    )
    return read_machine(root, architecture="aarch64", allowed=frozenset(range(4)))


def nothing(root: Path) -> Machine:
    """Not even /proc."""
    return read_machine(root, architecture="riscv64", allowed=frozenset({0}))


MACHINES: Mapping[str, Callable[[Path], Machine]] = {
    "jetson": jetson,
    "old_jetson": old_jetson,
    "nvidia_desktop": nvidia_desktop,
    "npu_laptop": npu_laptop,
    "bare_arm": bare_arm,
    "nothing": nothing,
}


class FakeDriver:
    """A libcuda.so.1 that answers as told."""

    def __init__(self, *, start: int = 0, version: int = 12060, free_mb: int = 512) -> None:
        self._start, self._version, self._free_mb = start, version, free_mb

    def __call__(self, name: str) -> FakeDriver:
        """Opened instead of the library."""
        assert name == "libcuda.so.1"
        return self

    def cuInit(self, flags: int) -> int:
        return self._start

    def cuDriverGetVersion(self, version: object) -> int:
        return _write(version, self._version)

    def cuDeviceGetCount(self, count: object) -> int:
        return _write(count, 1)

    def cuDeviceGetName(self, name: Any, size: int, device: int) -> int:
        name.value = b"NVIDIA RTX A2000"
        return 0

    def cuDeviceTotalMem_v2(self, memory: object, device: int) -> int:
        return _write(memory, 6144 << 20)

    def cuDeviceGetAttribute(self, value: object, attribute: int, device: int) -> int:
        return _write(value, {75: 8, 76: 6}[attribute])

    def cuDevicePrimaryCtxRetain(self, context: object, device: int) -> int:
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: int) -> int:
        return 0

    def cuCtxPushCurrent_v2(self, context: object) -> int:
        return 0

    def cuCtxPopCurrent_v2(self, context: object) -> int:
        return 0

    def cuMemGetInfo_v2(self, free: object, total: object) -> int:
        _write(total, 6144 << 20)
        return _write(free, self._free_mb << 20)


def _write(reference: Any, value: int) -> int:
    """Through what ctypes.byref gave."""
    reference._obj.value = value
    return 0


def _fill(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
