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
    """Intel's own engine, the fastest on every x86 processor; behind onnxruntime on Arm."""
    return {"x86_64": 40, "aarch64": 10}.get(machine.architecture, 0)


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
