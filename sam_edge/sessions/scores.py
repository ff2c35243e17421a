"""How well each runtime suits a machine: 0 is not at all, the best score is chosen.

    100  the machine's own engine (TensorRT on Jetson)
     80  TensorRT on another NVIDIA GPU
     60  CUDA through onnxruntime
     40  OpenVINO on x86
     20  onnxruntime on any processor
     10  OpenVINO on ARM

Nothing here imports a library of an engine: whether it is installed is told by files alone.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sam_edge.host.machine import Machine

TENSORRT_FLOOR_L4T = (36, 4)
"""JetPack 6.1, the first with TensorRT 10."""
CUDA_BINDINGS = ("cuda.bindings", "cuda.cudart", "pycuda")
ONNXRUNTIME_CUDA = "capi/libonnxruntime_providers_cuda.so"


def onnxruntime(machine: Machine) -> int:
    """Any processor will do; a GPU counts where the installed build can use one."""
    return 60 if machine.has_cuda and library_has("onnxruntime", ONNXRUNTIME_CUDA) else 20


def openvino(machine: Machine) -> int:
    """Intel's own engine, the fastest on every x86 processor; behind onnxruntime on ARM."""
    if machine.architecture == "x86_64":
        return 40
    return 10 if machine.architecture == "aarch64" else 0


def tensorrt(machine: Machine) -> int:
    """Only where an NVIDIA GPU is, and on Jetson only from JetPack 6.1 on."""
    if not machine.has_cuda or (machine.l4t is not None and machine.l4t < TENSORRT_FLOOR_L4T):
        return 0
    return 100 if machine.is_jetson else 80


def anywhere(machine: Machine) -> int:
    """Runs on every machine, slowly."""
    return 1


def has_cuda_binding() -> bool:
    """Whether one of the Python packages is installed through which CUDA is spoken to."""
    return any(is_installed(module) for module in CUDA_BINDINGS)


def is_installed(module: str) -> bool:
    """Whether a module, such as cuda.bindings, could be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package it would lie in is missing
        return False


def library_has(library: str, file: str) -> bool:
    """Whether an installed library brings that file (relative to its folder)."""
    spec = find_spec(library)
    folders = spec.submodule_search_locations if spec else None
    return any((Path(folder) / file).is_file() for folder in folders or ())
