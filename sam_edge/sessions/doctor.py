"""What this machine has, what of it can be used, and what to install for the rest.

Every probe may meet a broken library or driver; whatever it raises becomes one line of the report.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sam_edge.errors import SamEdgeError
from sam_edge.host import nvidia_driver as driver
from sam_edge.host.advice import system_advice
from sam_edge.host.machine import Machine
from sam_edge.imaging.opencv_build import OpenCvBuild, find_build
from sam_edge.lazy import import_object
from sam_edge.sessions.backend import Backend
from sam_edge.sessions.choice import backends, best_backend, is_installed
from sam_edge.storage.cache import cache_folder

PACKAGES = {
    "sam-edge": ("sam-edge",),
    "numpy": ("numpy",),
    "opencv": tuple(
        f"opencv{contrib}-python{headless}" for headless in ("-headless", "") for contrib in ("", "-contrib")
    ),
    "pycuda": ("pycuda",),
    "cuda-python": ("cuda-bindings", "cuda-python"),
    "torch": ("torch",),
    "onnx": ("onnx",),
}
"""What we call a library -> the packages that bring it, the first one found counts."""
MODULES = {"numpy": "numpy", "opencv": "cv2", "tensorrt": "tensorrt"}
"""Libraries that are imported as well: a system may bring them without a package, or half of what they need."""
INSTRUCTIONS = (
    *("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
"""What decides how fast a processor multiplies."""

JETPACKS = {
    (35,): "5.1",
    (36, 2): "6.0 preview",
    (36, 3): "6.0",
    (36, 4): "6.1 to 6.2",
    (36, 5): "6.2",
    (38, 2): "7.0",
    (38, 4): "7.1",
    (39,): "7.2",
}
"""Beginning of Jetson's Linux release -> JetPack."""


@dataclass(frozen=True)
class BackendReport:
    """One runtime on this machine."""

    name: str
    library: str
    version: str | None
    """None: its library is not installed."""
    score: int
    """How well it suits this machine; 0 is not at all."""
    on_request: bool
    chosen: bool
    """It is the one that runs when none is named."""
    devices: tuple[str, ...]
    """What can be used, such as cpu; the runtime's own name where it has no devices to choose from."""
    problems: Mapping[str, str]
    """What cannot be used -> why, and what to do."""


@dataclass(frozen=True)
class Report:
    """Everything the doctor found."""

    machine: Machine
    jetpack: str | None
    cuda: str
    """The driver in words, or why it cannot be used."""
    versions: Mapping[str, str]
    """Library -> version, of those that are here."""
    runtimes: tuple[BackendReport, ...]
    advice: tuple[str, ...]
    """Drivers that would add a device."""
    cache: str
    """Folder of what was built for this machine."""
    cache_bytes: int
    opencv: OpenCvBuild | None = None
    """None: it cannot be imported, see its version."""

    def document(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        found = asdict(self)
        found["machine"]["cpu_flags"] = [flag for flag in INSTRUCTIONS if flag in self.machine.cpu_flags]
        return found


def examine(machine: Machine) -> Report:
    """Look at everything. Imports the engines' libraries, so it takes seconds where there are many."""
    folder = cache_folder("any").parent
    return Report(
        machine=machine,
        jetpack=jetpack(machine.l4t),
        cuda=_cuda(machine),
        versions=_versions(),
        runtimes=tuple(_report(backend, machine) for backend in backends().values()),
        advice=tuple(system_advice(machine)),
        cache=str(folder),
        cache_bytes=_size(folder),
        opencv=_opencv(),
    )


def jetpack(l4t: tuple[int, ...] | None) -> str | None:
    """The JetPack that brings a release of Jetson's Linux, or None."""
    found = (name for start, name in JETPACKS.items() if l4t is not None and l4t[: len(start)] == start)
    return next(found, None)


def in_one_line(error: BaseException) -> str:
    """What an error says, whatever raised it."""
    text = " ".join(str(error).split())
    if isinstance(error, SamEdgeError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _report(backend: Backend, machine: Machine) -> BackendReport:
    name = backend.name
    score = backend.score(machine)
    installed = is_installed(backend.library)
    devices: tuple[str, ...] = ()
    problems: dict[str, str] = {}
    reason = backend.unavailable(machine)
    if reason:
        problems[name] = reason
    elif not installed:
        problems[name] = f"not installed: {backend.install_hint(machine)}"
    else:
        answers = _ask(backend)
        devices = tuple(device for device, problem in answers.items() if problem is None)
        problems = {device: problem for device, problem in answers.items() if problem is not None}
    return BackendReport(
        name=name,
        library=backend.library,
        version=_version(backend.library, backend.distributions) if installed else None,
        score=score,
        on_request=backend.on_request,
        chosen=installed and name == best_backend(machine),
        devices=devices,
        problems=problems,
    )


def _ask(backend: Backend) -> dict[str, str | None]:
    """What the backend can be called with (NAME or NAME:DEVICE) -> None, or why it does not work."""
    try:
        # What every session needs comes first: without numpy some libraries report by themselves, at length.
        import_module("sam_edge.sessions.base")
        import_module(backend.library)
        if backend.device_problems is None:
            return {backend.name: None}
        return {f"{backend.name}:{device}": problem for device, problem in backend.device_problems().items()}
    except Exception as error:  # a broken library may raise anything
        return {backend.name: f"installed but broken: {in_one_line(error)}"}


def _cuda(machine: Machine) -> str:
    if not machine.cuda_nodes and machine.libcuda is None:
        return "none"
    try:
        found = driver.probe()
    except Exception as error:  # a broken driver library may raise anything
        return in_one_line(error)
    names = ", ".join(
        f"{device.name} ({device.memory_mb} MB, compute capability {device.compute_capability})"
        for device in found.devices
    )
    kernel = f"driver {machine.cuda_driver}, " if machine.cuda_driver else ""
    return f"{names or 'no device'}; {kernel}CUDA up to {found.cuda}"


def _opencv() -> OpenCvBuild | None:
    try:
        return find_build()
    except Exception:  # a broken library may raise anything; `_version` says what
        return None


def _versions() -> dict[str, str]:
    found = {"linux": platform.release(), "python": platform.python_version()}
    engines = {backend.library: backend.distributions for backend in backends().values() if backend.extra}
    for name, distributions in {**PACKAGES, **engines}.items():
        answer = _version(name, distributions)
        if answer is not None:
            found[name] = answer
    return found


def _version(name: str, distributions: tuple[str, ...] = ()) -> str | None:
    """A library's version, and what is wrong if it cannot be imported; None if it is not here."""
    packaged = next(
        (found for found in map(_packaged, distributions or PACKAGES.get(name, (name,))) if found), None
    )
    module = MODULES.get(name)
    if module is None or not is_installed(module):
        return packaged
    try:
        own = str(import_object(f"{module}:__version__"))
    except Exception as error:  # a broken library may raise anything
        return f"{packaged or ''} broken ({in_one_line(error)})".lstrip()
    return packaged or own


def _packaged(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _size(folder: Path) -> int:
    """Bytes of all files below `folder`; 0 if there is none."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(where) / name).st_size
            except OSError:
                continue
    return total
