"""One ONNX graph becomes one TensorRT plan.

The TensorRT to build with is given as a value: `tensorrt` on the device, `tensorrt_rtx` where there is none.
Nothing here asks whether a device is there; do so first, because TensorRT's runtime crashes without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from sam_edge.bundle.shapes import ShapeRange
from sam_edge.errors import BundleError, EngineError
from sam_edge.host.memory import shortage

from .api import Builder, IBuilderConfig, INetworkDefinition, OnnxParser, TensorRtModule
from .library import clears_frames, make_logger
from .progress import ShowShare, make_monitor

MIB = 1 << 20
_CLIPPED = "Defaulting to INT8"
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|cudaErrorMemoryAllocation|could not be allocated", re.IGNORECASE)
_NO_ROOM = re.compile(r"insufficient (?:memory on )?workspace|tactics? .*workspace", re.IGNORECASE)


WORKSPACE_SHARE = 4
"""Scratch memory may take a quarter of what is free: on a 4 GB device the system, the builder's own copy of the
weights and the plans that are loaded already live in the same memory."""
WORKSPACE_RANGE_MB = (128, 4096)


@dataclass(frozen=True)
class BuilderSettings:
    """How the builder is asked to build one graph."""

    shapes: Mapping[str, ShapeRange] = field(default_factory=dict)
    """Inputs with free dimensions -> the shapes they may have. One shape only: the plan is static."""
    workspace_mb: int | None = None
    """Scratch memory of a layer at most; None: a share of what is free when it is built."""

    def document(self) -> dict[str, Any]:
        """The settings as JSON values, for the plan's key.

        The free memory of the moment is left out: a plan that was built with less is as good as another.
        """
        return {
            "shapes": {
                name: [list(shape.least), list(shape.best), list(shape.most)]
                for name, shape in sorted(self.shapes.items())
            },
            "workspace_mb": self.workspace_mb,
        }


@dataclass(frozen=True)
class Built:
    """The result of a build."""

    plan: bytes
    timing: bytes | None
    """The timing cache with what this build has measured; None if it was built without one."""


@clears_frames
def build_plan(
    trt: TensorRtModule,
    graph: Path,
    settings: BuilderSettings,
    workspace_mb: int,
    timing: bytes | None = None,
    progress: ShowShare = lambda done: None,
    free_mb: Callable[[], int | None] = lambda: None,
) -> Built:
    """Build the plan of an ONNX file, strongly typed: every layer computes in the graph's own types.

    Args:
        trt: the module that builds.
        graph: the ONNX file, its external weights beside it.
        settings: shapes and limits.
        workspace_mb: scratch memory of a layer at most.
        timing: an earlier timing cache, b"" to begin one; None builds without.
        progress: called with the share that is done, 0..1.
        free_mb: free device memory, for the message when it is too little.

    Raises:
        BundleError: the graph holds something that TensorRT does not read or build; names node and operator.
        EngineError: out of memory, or TensorRT failed; says what it asked for and what helps.
        KeyboardInterrupt: the user gave up; the builder has stopped.
    """
    errors: list[str] = []
    warnings: list[str] = []
    add = {"ERROR": errors.append, "INTERNAL_ERROR": errors.append, "WARNING": warnings.append}
    log = make_logger(trt, **add)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, graph, trt.OnnxParser(network, log), errors)
    if any(_CLIPPED in text for text in warnings):
        raise BundleError(
            f"{graph} is quantized with uint8, of which TensorRT clips half the range",
            path=graph,
            hint="export the model again with signed symmetric int8",
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mb * MIB)
    # The inspector then tells in which types a plan really computes.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # Float32 products with 10 bits of mantissa are no longer the model that the fidelity gate has measured.
    config.clear_flag(trt.BuilderFlag.TF32)
    _choose_shapes(builder, network, config, settings)
    if timing is not None:
        cache = config.create_timing_cache(timing) or config.create_timing_cache(b"")
        if cache is not None:
            config.set_timing_cache(cache, False)
    monitor = make_monitor(trt, progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.stopped_by is not None:
        raise monitor.stopped_by
    if plan is None:
        _fail(trt, graph, errors, warnings, workspace_mb, free_mb)
    measured = config.get_timing_cache() if timing is not None else None
    return Built(bytes(memoryview(plan)), bytes(memoryview(measured.serialize())) if measured else None)


def _parse(trt: TensorRtModule, graph: Path, parser: OnnxParser, errors: Sequence[str]) -> None:
    if not graph.is_file():
        raise BundleError(f"{graph} is missing", path=graph, hint="export the model again")
    if parser.parse_from_file(str(graph)):
        return
    if not parser.num_errors:
        raise BundleError(f"TensorRT cannot read {graph}: {_last(errors)}", path=graph)
    problem = parser.get_error(0)
    operator = problem.node_operator()
    # Weights and inputs are refused without a node.
    where = f"node {problem.node_name()} ({operator}) of {graph}" if operator else str(graph)
    why = " ".join(problem.desc().split())
    raise BundleError(
        f"TensorRT {trt.__version__} does not read {where}: {why}",
        path=graph,
        hint="sam-edge build --dry-run lists such nodes, export the model again without them",
    )


def _choose_shapes(
    builder: Builder, network: INetworkDefinition, config: IBuilderConfig, settings: BuilderSettings
) -> None:
    """Fix the inputs of one shape, and give the others a profile."""
    profile = builder.create_optimization_profile()
    ranges = 0
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = settings.shapes.get(tensor.name)
        if shape is None:
            continue
        if shape.fixed:
            # A static network needs no profile, and its plan can be captured as a CUDA graph at once.
            tensor.shape = shape.best
        else:
            profile.set_shape(tensor.name, shape.least, shape.best, shape.most)
            ranges += 1
    if ranges:
        config.add_optimization_profile(profile)


def _fail(
    trt: TensorRtModule,
    graph: Path,
    errors: Sequence[str],
    warnings: Sequence[str],
    workspace_mb: int,
    free_mb: Callable[[], int | None],
) -> NoReturn:
    """Raise EngineError with the reason for which TensorRT built nothing."""
    texts = (*errors, *warnings)
    if any(_OUT_OF_MEMORY.search(text) for text in texts):
        found = shortage(f"out of device memory to build {graph}", " ".join(texts), free_mb())
        raise EngineError(
            found.what,
            path=graph,
            hint=f"close other programs, or give sam-edge build less than --workspace {workspace_mb} or a "
            "smaller --input, or more swap on Jetson",
        )
    if any(_NO_ROOM.search(text) for text in texts):
        raise EngineError(
            f"TensorRT cannot build {graph} in {workspace_mb} MiB of workspace: {_last(errors)}",
            path=graph,
            hint="give sam-edge build more with --workspace",
        )
    raise EngineError(
        f"TensorRT {trt.__version__} cannot build {graph}: {_last(errors)}",
        path=graph,
        hint="sam-edge build --dry-run lists what it does not take",
    )


def _last(errors: Sequence[str]) -> str:
    """The error that came last is the one that ended it."""
    return errors[-1] if errors else "it does not say why"


def workspace_limit_mb(free_mb: int) -> int:
    """How much scratch memory a layer may take when so much of the device's memory is free."""
    least, most = WORKSPACE_RANGE_MB
    return min(max(free_mb // WORKSPACE_SHARE, least), most)
