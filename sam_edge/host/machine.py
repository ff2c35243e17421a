"""What this machine is, read from a few small files: no library is imported and no device is opened."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sam_edge.host.cores import ROOT, read_text, usable_cores

LIBRARY_FOLDERS = (
    "usr/lib/{arch}-linux-gnu",
    "usr/lib/{arch}-linux-gnu/nvidia",
    "usr/lib/{arch}-linux-gnu/tegra",
    "usr/lib64",
    "usr/lib",
    "usr/lib/wsl/lib",
    "usr/local/nvidia/lib64",
    "usr/local/cuda/compat",
)
"""Where drivers put libcuda.so.1, Jetson, WSL and containers included."""
CUDA_NODES = ("nvidia[0-9]*", "nvhost-gpu", "nvhost-ctrl-gpu", "nvgpu/igpu*", "dxg")
"""Below /dev: a discrete GPU, Jetson's by its old and new names, WSL's."""
VENDORS = {"0x8086": "intel", "0x10de": "nvidia", "0x1002": "amd", "0x13b5": "arm"}


@dataclass(frozen=True)
class Device:
    """A node below /dev that an engine could compute on."""

    name: str
    """Such as renderD128 or accel0."""
    vendor: str
    """intel, nvidia, amd, arm; a driver's name or PCI number where it is none of these; "" if unknown."""
    may_open: bool = True
    """Whether this user has the right to."""


@dataclass(frozen=True)
class Machine:
    """A computer as far as the choice of an engine goes."""

    architecture: str
    """As `uname -m` says: x86_64, aarch64."""
    cpu_name: str
    cpu_flags: frozenset[str]
    """Instruction sets by the kernel's names, such as avx2, avx512_vnni, asimd."""
    cores: int
    """Physical cores this process may use."""
    memory_mb: int
    cuda_nodes: tuple[str, ...]
    """Device nodes of NVIDIA GPUs that this process sees."""
    cuda_names: tuple[str, ...]
    """What the driver calls them, where it says."""
    cuda_driver: str | None
    """Version of the kernel's NVIDIA driver."""
    libcuda: str | None
    """Path of the user's half of the driver."""
    l4t: tuple[int, ...] | None
    """Release of Jetson's Linux, such as (36, 4, 3)."""
    module: str | None
    """What board the device tree describes, such as a Jetson's name."""
    npus: tuple[Device, ...]
    gpus: tuple[Device, ...]
    """Render nodes, of every vendor."""

    @property
    def has_cuda(self) -> bool:
        """Whether a CUDA device and its driver are both here."""
        return bool(self.cuda_nodes) and self.libcuda is not None

    @property
    def is_jetson(self) -> bool:
        """Whether this is a Jetson (also in a container that hides its release file)."""
        return self.l4t is not None or "jetson" in (self.module or "").lower()


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The machine this process runs on. Read once: what is plugged in later is not seen."""
    return read_machine()


def read_machine(
    root: Path = ROOT, *, architecture: str | None = None, allowed: frozenset[int] | None = None
) -> Machine:
    """Read a machine from the files below `root`; whatever cannot be read counts as not there.

    Args:
        root: the folder that stands for `/`; tests emulate other machines below it.
        architecture: None asks this machine's kernel.
        allowed: numbers of the processors that may be used; None asks this machine's kernel.
    """
    architecture = architecture or platform.machine()
    cpu = read_text(root / "proc/cpuinfo")
    return Machine(
        architecture=architecture,
        cpu_name=_field(cpu, "model name") or _field(cpu, "Model") or architecture,
        cpu_flags=frozenset((_field(cpu, "flags") or _field(cpu, "Features")).split()),
        cores=usable_cores(root, allowed),
        memory_mb=_memory_mb(read_text(root / "proc/meminfo")),
        cuda_nodes=_cuda_nodes(root),
        cuda_names=_cuda_names(root),
        cuda_driver=_cuda_driver(root),
        libcuda=_find_libcuda(root, architecture),
        l4t=_l4t(read_text(root / "etc/nv_tegra_release")),
        module=read_text(root / "proc/device-tree/model").rstrip("\0").strip() or None,
        npus=_devices(root, "dev/accel", "accel[0-9]*", "sys/class/accel"),
        gpus=_devices(root, "dev/dri", "renderD[0-9]*", "sys/class/drm"),
    )


def _cuda_nodes(root: Path) -> tuple[str, ...]:
    nodes = root / "dev"
    found = {str(path.relative_to(nodes)) for pattern in CUDA_NODES for path in nodes.glob(pattern)}
    return tuple(sorted(found))


def _cuda_names(root: Path) -> tuple[str, ...]:
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(name for name in (_field(read_text(file), "Model") for file in files) if name)


def _cuda_driver(root: Path) -> str | None:
    text = read_text(root / "proc/driver/nvidia/version")
    found = re.search(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else read_text(root / "sys/module/nvidia/version") or None


def _find_libcuda(root: Path, architecture: str) -> str | None:
    folders = [root / folder.format(arch=architecture) for folder in LIBRARY_FOLDERS]
    if root == ROOT:
        folders = [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part] + folders
    return next(
        (str(folder / "libcuda.so.1") for folder in folders if (folder / "libcuda.so.1").exists()), None
    )


def _l4t(text: str) -> tuple[int, ...] | None:
    """`# R36 (release), REVISION: 4.3, GCID: ...` is (36, 4, 3)."""
    found = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return (int(found[1]), *(int(part) for part in found[2].split(".") if part)) if found else None


def _devices(root: Path, nodes: str, pattern: str, classes: str) -> tuple[Device, ...]:
    paths = sorted((root / nodes).glob(pattern))
    return tuple(
        Device(path.name, _vendor(root / classes / path.name / "device"), os.access(path, os.R_OK | os.W_OK))
        for path in paths
    )


def _vendor(device: Path) -> str:
    """A PCI device has a vendor's number; what sits on a chip's own bus only names its driver."""
    number = read_text(device / "vendor")
    driver = re.search(r"^DRIVER=(.+)$", read_text(device / "uevent"), re.MULTILINE)
    return VENDORS.get(number, number) or (driver[1] if driver else "")


def _memory_mb(text: str) -> int:
    found = re.search(r"MemTotal:\s+(\d+) kB", text)
    return int(found[1]) // 1024 if found else 0


def _field(text: str, name: str) -> str:
    """The value of the first `name : value` line, or ""."""
    found = re.search(rf"^{name}\s*:[ \t]*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
