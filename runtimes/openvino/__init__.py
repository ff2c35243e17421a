"""OpenVINO on Intel processors, GPUs and NPUs, and on other x86 and Arm processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sam_edge.host.machine import Machine
from sam_edge.sessions.backend import Backend
from sam_edge.sessions.session import Session, SessionOptions


def _open(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
    from .session import OpenVinoSession

    return OpenVinoSession(graph, options)


def _default_device(machine: Machine) -> str:
    from .model import find_device

    return find_device(None)


def _device_problems() -> Mapping[str, str | None]:
    from .model import device_problems

    return device_problems()


def _score(machine: Machine) -> int:
    """First with an Intel GPU. On a processor behind onnxruntime, which serves a stream better where other
    programs work too (docs/measurements.md)."""
    if machine.architecture != "x86_64":
        return 10 if machine.architecture == "aarch64" else 0
    return 50 if any(gpu.vendor == "intel" for gpu in machine.gpus) else 30


BACKEND = Backend(
    name="openvino",
    library="openvino",
    extra="openvino",
    open=_open,
    score=_score,
    devices=("CPU", "GPU", "NPU", "AUTO"),
    numbered=("GPU", "NPU"),
    default_device=_default_device,
    device_problems=_device_problems,
)
