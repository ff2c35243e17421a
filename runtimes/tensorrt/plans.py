"""The plans of a model folder: which are needed, which the cache holds, and building the rest."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest, Precision
from sam_edge.bundle.shapes import graph_shapes, named_shapes
from sam_edge.errors import EngineError, InputError, PlanError
from sam_edge.host.machine import Machine
from sam_edge.lazy import import_object
from sam_edge.sessions.choice import passed
from sam_edge.storage.cache import BlobCache
from sam_edge.storage.files import locked

from .build import MIB, Built, Memory, build_plan
from .builder_api import BuilderModule
from .plan_cache import (
    PlanDevice,
    PlanKey,
    find_plan,
    graph_sha256,
    plan_folder,
    plan_path,
    read_plan,
    settings_sha256,
    this_exporter,
    write_plan,
)
from .settings import BuilderSettings, workspace_limit_mb

RUNTIME = "tensorrt"
Progress = Callable[[str, float], None]
"""Called with what begins now, and the share of the work that is done, 0..1."""


@dataclass(frozen=True)
class PlanRequest:
    """A plan that is wanted."""

    name: str
    """`encoder`, `decoder`, ..."""
    graph: Path
    """The ONNX file it is made from, whose hash is as the manifest says."""
    settings: BuilderSettings
    shapes: Mapping[str, tuple[int | str, ...]]
    """Tensor -> shape with the names of its free dimensions; empty for a plan that has none."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    name: str
    plan: Path
    size_bytes: int
    seconds: float
    """How long building took; 0.0 for a plan that was there."""
    why: str
    """Why it was built; "" for a plan that was there."""


@dataclass(frozen=True)
class BuildEnvironment:
    """Where plans are built: the library, the device, and the cache."""

    trt: BuilderModule
    device: PlanDevice
    memory: Callable[[], Memory]
    folder: Path = field(default_factory=plan_folder)
    remember_timing: bool = True
    """Whether to keep a timing cache; TensorRT for RTX has none."""
    timing_folder: Path | None = None
    """Where the timing cache is; None: with the plans."""
    enter: Callable[[], None] = lambda: None
    """Makes the device the one that TensorRT builds on: an engine may have chosen another since."""

    def elsewhere(self, folder: Path) -> BuildEnvironment:
        """The same, with plans in another folder. The timings stay where they are."""
        return replace(self, folder=folder, timing_folder=self.timing_folder or self.folder)


class Cuda(Protocol):
    """A device that tells its memory."""

    def enter(self) -> None:
        """Choose it, in this thread."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free and total, in bytes."""
        ...


def choose_engine(bundle: Bundle, precision: Precision | None, device: str | None = None) -> EngineSpec:
    """The engine of a model to build plans for, on `cuda` or `cuda.N`.

    By default it is the one that will be run: fp16 if the folder has it and it has not failed the gate here.

    Raises:
        InputError: the folder has no engine of that precision.
    """
    runtime = f"{RUNTIME}:{device or 'cuda'}"
    half = EngineSpec(runtime, "fp16")
    if half.graphs_key in bundle.manifest.engines:
        wanted = precision == "fp16" or (precision is None and passed(bundle.manifest.measured(half)))
        return half if wanted else EngineSpec(runtime)
    if precision == "fp16":
        raise InputError(
            f"{bundle.path} has no fp16 graphs for TensorRT",
            path=bundle.path,
            hint="export the model with --target tensorrt --precision fp16",
        )
    return EngineSpec(runtime)


def plan_requests(
    bundle: Bundle, engine: EngineSpec, settings: BuilderSettings, input_wh: tuple[int, int] | None = None
) -> list[PlanRequest]:
    """One job a graph of the model, in the manifest's order.

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
    """The job of one file, made from the graph `name` of a model; raises as `plan_requests`."""
    shapes = graph_shapes(manifest, name, input_wh)
    return PlanRequest(name, graph, replace(settings, shapes=shapes), named_shapes(manifest, name, shapes))


def this_device(device: str | None = None) -> PlanDevice:
    """What plans made here depend on: for `cuda`, the first GPU, or `cuda.1`, the second.

    Raises:
        EngineError: no CUDA device, or no driver new enough.
        MissingExtraError: TensorRT or a CUDA binding is not installed.
    """
    find: Callable[[str | None], PlanDevice] = import_object("sam_edge.runtimes.tensorrt.session:plan_device")
    return find(device)


NO_GPU = "no NVIDIA GPU with its driver is here, and a plan is built on the device that runs it: do this there"


def find_device(machine: Machine, device: str | None = None) -> PlanDevice:
    """This machine's `cuda` or `cuda.N`, as plans depend on it. TensorRT is not touched before a GPU is seen.

    Raises:
        EngineError: no device here, or no driver that is new enough.
        MissingExtraError: TensorRT or a binding of CUDA is not installed.
    """
    if not machine.has_cuda:
        raise EngineError(NO_GPU)
    return this_device(device)


def find_build_environment(machine: Machine, device: str | None = None) -> BuildEnvironment:
    """This machine's own TensorRT, on `cuda` or `cuda.N`.

    Raises:
        EngineError: no device here, or no driver that is new enough.
        MissingExtraError: TensorRT or a binding of CUDA is not installed.
    """
    if not machine.has_cuda:
        raise EngineError(f"{NO_GPU} (sam-edge build --dry-run shows here what would be built)")
    described = find_device(machine, device)
    index = import_object("sam_edge.runtimes.tensorrt.session:device_index")(device)
    cuda: Cuda = import_object("sam_edge.runtimes.cuda.api:find_cuda")(index)
    trt: Any = import_module("tensorrt")
    return BuildEnvironment(trt, described, lambda: _memory(cuda, machine), enter=cuda.enter)


def build_requests(
    environment: BuildEnvironment, requests: list[PlanRequest], progress: Progress
) -> Iterator[Outcome]:
    """Make sure that the cache holds the plan of every job, one after the other."""
    for index, request in enumerate(requests):

        def show(step: str, done: float, index: int = index) -> None:
            progress(step, (index + done) / len(requests))

        yield build_request(environment, request, show)
    progress("done", 1.0)


def build_request(environment: BuildEnvironment, request: PlanRequest, progress: Progress) -> Outcome:
    """Take a job's plan from the cache, or build it.

    Only one process builds a plan; another one that wants the same waits for it, and then uses it. What is
    built is marked as untried: nobody opens it before `tensorrt_open.compare` has.
    """
    progress(f"looking for a plan of {request.name}", 0.0)
    key = request_key(request, environment.device)
    path = plan_path(request.graph, key, environment.folder)
    with locked(
        path.with_suffix(".lock"), lambda: progress(f"another process builds {request.name}: waiting", 0.0)
    ):
        found = find_requested_plan(request, environment.device, environment.folder)
        if isinstance(found, Path):
            return Outcome(request.name, found, found.stat().st_size, 0.0, "")
        progress(f"building {request.name}", 0.0)
        began = time.perf_counter()
        built = _build(environment, request, lambda done: progress(f"building {request.name}", done))
        seconds = time.perf_counter() - began
        plan_sha256 = hashlib.sha256(built.plan).hexdigest()
        write_plan(
            request.graph,
            built.plan,
            replace(key, plan_sha256=plan_sha256, unverified=True),
            environment.folder,
        )
        return Outcome(request.name, path, len(built.plan), seconds, found)


def request_key(request: PlanRequest, device: PlanDevice) -> PlanKey:
    """What the job's plan depends on; the plan's own hash is not known yet."""
    return PlanKey(
        graph_sha256=graph_sha256(request.graph),
        settings_sha256=settings_sha256(request.settings.document()),
        exporter=this_exporter(),
        device=device,
        plan_sha256="",
        shapes=request.shapes,
    )


def find_requested_plan(request: PlanRequest, device: PlanDevice, folder: Path) -> Path | str:
    """The sound plan of a job in the cache, tried or not, or why there is none. A damaged one is removed."""
    try:
        path = find_plan(request.graph, device, request.settings.document(), folder, unverified=True)
        read_plan(path)
    except PlanError as error:
        return error.what
    return path


def ready_plan(graph: Path, device: PlanDevice, folder: Path) -> Path | None:
    """The sound plan that the runtime would load for a graph, whatever settings it was built with, if any.

    Where there is none, it is one that has still to be compared.
    """
    try:
        path = find_plan(graph, device, None, folder, unverified=True)
        read_plan(path)
    except PlanError:
        return None
    return path


def keep_plan(graph: Path, plan: Path, folder: Path) -> Path:
    """Put a plan of a graph that lies elsewhere into a folder, with its key."""
    data, key = read_plan(plan)
    path = plan_path(graph, key, folder)
    with locked(path.with_suffix(".lock"), lambda: None):
        return write_plan(graph, data, key, folder)


def timing_key(device: PlanDevice) -> str:
    """What the timings of this TensorRT, driver and device are kept under."""
    return f"timing {json.dumps(asdict(device), sort_keys=True)}"


def _build(environment: BuildEnvironment, request: PlanRequest, progress: Callable[[float], None]) -> Built:
    # A damaged timing cache is dropped: it is worth nothing and costs only time.
    cache, key = BlobCache(environment.timing_folder or environment.folder), timing_key(environment.device)
    timing = (cache.read(key) or b"") if environment.remember_timing else None
    environment.enter()
    workspace_mb = request.settings.workspace_mb or workspace_limit_mb(environment.memory().free_mb)
    built = build_plan(
        environment.trt, request.graph, request.settings, workspace_mb, timing, progress, environment.memory
    )
    if built.timing is not None:
        cache.write(key, built.timing)
    return built


def _memory(cuda: Cuda, machine: Machine) -> Memory:
    free, total = (size // MIB for size in cuda.memory())
    if machine.is_jetson:
        # CUDA counts the system's file cache as used there, which gives way to whoever needs the room.
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        free = max(free, int(found[1]) // 1024 if found else 0)
    return Memory(free, total)
