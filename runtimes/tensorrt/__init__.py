"""TensorRT on NVIDIA GPUs: plans are built, kept and run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.host.advice import CUDA_BINDINGS, TENSORRT_FLOOR_L4T, tensorrt_install, tensorrt_unavailable
from sam_edge.host.machine import Machine
from sam_edge.sessions.backend import Backend
from sam_edge.sessions.choice import is_installed
from sam_edge.sessions.session import Session, SessionOptions

if TYPE_CHECKING:
    from sam_edge.bundle.folder import Bundle
    from sam_edge.bundle.manifest import EngineSpec, Manifest
    from sam_edge.progress import Progress
    from sam_edge.sessions.loaders import GraphLoader


def _open(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
    from .session import TensorRtSession

    return TensorRtSession(graph, options)


def _device_problems() -> Mapping[str, str | None]:
    from .device import device_problems

    return device_problems()


def _score(machine: Machine) -> int:
    """Only where an NVIDIA GPU is, and on Jetson only from JetPack 6.1 on."""
    if not machine.has_cuda or (machine.l4t is not None and machine.l4t < TENSORRT_FLOOR_L4T):
        return 0
    return 100 if machine.is_jetson else 80


class _Plans:
    """Plans built on this device, from the cache."""

    def check(self, graphs: Iterable[Path], device: str | None) -> None:
        from .prepare import check_plans

        check_plans(graphs, device)

    def prepare(self, bundle: Bundle, engine: EngineSpec, progress: Progress) -> None:
        from .prepare import prepare

        prepare(bundle, engine, progress)

    def loader(self, manifest: Manifest, device: str | None, progress: Progress) -> GraphLoader:
        from .prepare import PlanLoader

        return PlanLoader(manifest, device, progress)


BACKEND = Backend(
    name="tensorrt",
    library="tensorrt",
    extra="tensorrt",
    distributions=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    open=_open,
    score=_score,
    devices=("cuda",),
    numbered=("cuda",),
    device_problems=_device_problems,
    unavailable=tensorrt_unavailable,
    install=tensorrt_install,
    is_complete=lambda: any(map(is_installed, CUDA_BINDINGS)),
    plans=_Plans(),
)
