"""onnxruntime on CPUs, and on NVIDIA GPUs through its CUDA and TensorRT execution providers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sam_edge.host.machine import Machine
from sam_edge.sessions.backend import Backend
from sam_edge.sessions.session import Session, SessionOptions

CUDA_LIBRARY = "capi/libonnxruntime_providers_cuda.so"
"""Only builds that can use a GPU bring this file."""


def _open(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
    from .session import OnnxRuntimeSession

    return OnnxRuntimeSession(graph, options)


def _default_device(machine: Machine) -> str:
    from .providers import default_device

    return default_device(machine)


def _device_problems() -> Mapping[str, str | None]:
    from .providers import device_problems

    return device_problems()


def _score(machine: Machine) -> int:
    """Any processor will do; a GPU counts where the installed build can use one."""
    return 60 if machine.has_cuda and _has_cuda_build() else 40


def _has_cuda_build() -> bool:
    spec = find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    return any((Path(folder) / CUDA_LIBRARY).is_file() for folder in folders or ())


BACKEND = Backend(
    name="onnxruntime",
    library="onnxruntime",
    extra="cpu",
    distributions=("onnxruntime-gpu", "onnxruntime"),
    open=_open,
    score=_score,
    devices=("cpu", "cuda", "tensorrt"),
    default_device=_default_device,
    device_problems=_device_problems,
)
