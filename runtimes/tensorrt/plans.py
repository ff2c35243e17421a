"""The plans of a model folder: which are needed, which the cache holds, and building the rest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.bundle.shapes import graph_shapes, named_shapes
from sam_edge.errors import EngineError
from sam_edge.host.machine import Machine
from sam_edge.host.memory import available_mb
from sam_edge.progress import Progress
from sam_edge.storage.cache import BlobCache

from .api import TensorRtModule
from .build import MIB, BuilderSettings, Built, build_plan, workspace_limit_mb
from .cache import PlanCache, Seal, Shapes
from .device import Gpu, PlanDevice, describe, find_gpu, plan_folder

NO_GPU = "no NVIDIA GPU with its driver is here, and plans must be built on the device that runs them"


@dataclass(frozen=True)
class PlanRequest:
    """A plan that is wanted."""

    name: str
    """`encoder`, `decoder`, ..."""
    graph: Path
    """The ONNX file it is made from, whose hash is as the manifest says."""
    settings: BuilderSettings
    shapes: Shapes
    """Tensor -> shape with the names of its free dimensions; empty for a plan that has none."""


@dataclass(frozen=True)
class Outcome:
    """A plan that is in the cache now."""

    name: str
    plan: Path
    size_bytes: int
    seconds: float
    """How long building took."""
    is_new: bool
    """False for a plan that was there."""


@dataclass(frozen=True)
class BuildEnvironment:
    """Where plans are built: the library, the device, and the cache."""

    trt: TensorRtModule
    device: PlanDevice
    free_mb: Callable[[], int]
    """Free device memory."""
    cache: PlanCache = field(default_factory=lambda: PlanCache(plan_folder()))
    timings: BlobCache = field(default_factory=lambda: BlobCache(plan_folder()))
    """What TensorRT measured in earlier builds."""
    enter: Callable[[], None] = lambda: None
    """Makes the device the one that TensorRT builds on: a session may have chosen another since."""

    def entry(self, request: PlanRequest) -> Path:
        """Where a request's plan is kept."""
        return self.cache.entry(request.graph, self.device.facts(), request.settings.document())

    def ready(self, graph: Path) -> Path | None:
        """The plan that a graph would be run with, whatever settings it was built with; verified or not."""
        found = self.cache.find(graph, self.device.facts(), ("verified", "unverified"))
        return found[0] if found and self.cache.is_sound(found[0]) else None


def plan_requests(
    bundle: Bundle, engine: EngineSpec, settings: BuilderSettings, input_wh: tuple[int, int] | None = None
) -> list[PlanRequest]:
    """One request a graph of the model, in the manifest's order.

    Raises:
        InputError: the model takes no input of that size.
        BundleError: a graph's file is missing or damaged.
    """
    return [
        graph_request(bundle.manifest, name, bundle.graph(name, engine), settings, input_wh)
        for name in bundle.manifest.graphs
    ]


def graph_request(
    manifest: Manifest,
    name: str,
    graph: Path,
    settings: BuilderSettings,
    input_wh: tuple[int, int] | None = None,
) -> PlanRequest:
    """The request for one file, made from the graph `name` of a model; raises as `plan_requests`."""
    shapes = graph_shapes(manifest, name, input_wh)
    return PlanRequest(name, graph, replace(settings, shapes=shapes), named_shapes(manifest, name, shapes))


def find_device(machine: Machine, device: str | None = None) -> PlanDevice:
    """This machine's `cuda` or `cuda.N`, as plans depend on it; raises as `find_build_environment`."""
    return describe(_find_gpu(machine, device))


def find_build_environment(machine: Machine, device: str | None = None) -> BuildEnvironment:
    """This machine's own TensorRT, on `cuda` or `cuda.N`. TensorRT is not touched before a GPU is seen.

    Raises:
        EngineError: no device here, or no driver that is new enough.
        MissingExtraError: TensorRT or a binding of CUDA is not installed.
    """
    gpu = _find_gpu(machine, device)

    def free_mb() -> int:
        free = gpu.cuda.memory()[0] // MIB
        # CUDA counts the system's file cache as used there, which shrinks when memory is needed.
        return max(free, available_mb() or 0) if machine.is_jetson else free

    return BuildEnvironment(gpu.trt, describe(gpu), free_mb, enter=gpu.cuda.enter)


def build_requests(
    environment: BuildEnvironment, requests: list[PlanRequest], progress: Progress
) -> Iterator[Outcome]:
    """Make sure that the cache holds the plan of every request, one after the other."""
    for index, request in enumerate(requests):

        def show(step: str, done: float | None = None, index: int = index) -> None:
            progress(step, (index + (done or 0.0)) / len(requests))

        yield build_request(environment, request, show)
    progress("done", 1.0)


def build_request(environment: BuildEnvironment, request: PlanRequest, progress: Progress) -> Outcome:
    """Take a request's plan from the cache, or build it.

    One process builds at a time; another one that wants the same plan waits for it, and then uses it. What is
    built is unverified: it is not run before `prepare.compare` has compared it with the model.
    """
    cache, entry = environment.cache, environment.entry(request)
    with cache.lock(lambda: progress(f"another process builds plans: waiting to build {request.name}", 0.0)):
        if cache.is_sound(entry):
            return Outcome(request.name, entry, entry.stat().st_size, 0.0, is_new=False)
        step = f"building {request.name}"
        progress(step, 0.0)
        began = time.perf_counter()
        built = _build(environment, request, lambda done: progress(step, done))
        seconds = time.perf_counter() - began
        seal = Seal({}, "unverified", request.shapes, environment.device.facts())
        cache.write(entry, built.plan, seal)
        return Outcome(request.name, entry, len(built.plan), seconds, is_new=True)


def timing_key(device: PlanDevice) -> str:
    """What the timings of this TensorRT, driver and device are kept under."""
    return f"timing {json.dumps(device.facts(), sort_keys=True)}"


def _find_gpu(machine: Machine, device: str | None) -> Gpu:
    if not machine.has_cuda:
        raise EngineError(NO_GPU, hint="sam-edge build --dry-run shows here what would be built")
    return find_gpu(device)


def _build(environment: BuildEnvironment, request: PlanRequest, progress: Callable[[float], None]) -> Built:
    key = timing_key(environment.device)
    environment.enter()
    built = build_plan(
        environment.trt,
        request.graph,
        request.settings,
        request.settings.workspace_mb or workspace_limit_mb(environment.free_mb()),
        environment.timings.read(key) or b"",
        progress,
        environment.free_mb,
    )
    if built.timing is not None:
        environment.timings.write(key, built.timing)
    return built
