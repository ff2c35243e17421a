"""A TensorRT plan on the device, with all that its runs need there.

TensorRT's objects have one owner each and no place in a cycle, so that they end when they are let go of: the
garbage collector could end them in the middle of a call of TensorRT, which then waits for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from sam_edge.errors import EngineError, InputError, PlanError
from sam_edge.runtimes.cuda.memory import Block, pool_of
from sam_edge.runtimes.cuda.release import give_back_dropped
from sam_edge.sessions.session import SessionOptions
from sam_edge.tensors import Array, Arrays, TensorSpec

from .api import ICudaEngine, Runtime, TensorRtModule
from .cache import Shapes
from .device import Gpu
from .library import ErrorLog, clears_frames, is_about_memory, make_logger
from .shape_context import ShapeContext, Streams

MAX_SHAPES = 4
"""Input shapes that are kept ready; a camera has one."""
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}


class LoadedPlan:
    """A plan on the device. For one thread at a time."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self, gpu: Gpu, plan: bytes, graph: Path, free_shapes: Shapes, options: SessionOptions
    ) -> None:
        """Load the plan of `graph`, whose tensors have `free_shapes` in it.

        Raises:
            PlanError: TensorRT refuses the plan.
            EngineError: memory is out. In both cases nothing is left on the device.
        """
        self._cuda = gpu.cuda
        self._errors = ErrorLog(gpu.cuda)
        self._user_managed = gpu.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._pool = pool_of(gpu.cuda)
        self._shapes: OrderedDict[tuple[tuple[int, ...], ...], ShapeContext] = OrderedDict()
        self._handles = ExitStack()
        self._logger: Any = None
        self._runtime: Runtime | None = None
        self._engine: ICudaEngine | None = None
        self._workspace: Block | None = None
        try:
            self._load(gpu.trt, plan, graph, free_shapes, options)
        except BaseException:
            with suppress(EngineError):
                self.close()
            raise

    def run(self, feeds: Mapping[str, Array]) -> Arrays:
        """As `BaseSession.compute`."""
        self._cuda.enter()
        give_back_dropped()
        return self._shaped(tuple(tuple(feed.shape) for feed in feeds.values())).run(feeds)

    def close(self) -> None:
        """Give everything back, also what comes after something that fails. A second time does nothing."""
        self._cuda.enter()
        with ExitStack() as last_first:
            last_first.callback(self._pool.trim)
            last_first.enter_context(self._handles)
            last_first.callback(self._let_go)
            while self._shapes:
                last_first.callback(self._shapes.popitem()[1].close)

    def _let_go(self) -> None:
        self._engine = self._runtime = self._logger = self._workspace = None

    @clears_frames
    def _load(
        self, trt: TensorRtModule, plan: bytes, graph: Path, free_shapes: Shapes, options: SessionOptions
    ) -> None:
        self._cuda.enter()
        # TensorRT uses its logger and runtime as long as the engine lives.
        self._logger = make_logger(trt, ERROR=self._errors.add, INTERNAL_ERROR=self._errors.add)
        self._runtime = trt.Runtime(self._logger)
        self._engine = engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reason = self._errors.take()
            kind = EngineError if is_about_memory(reason) else PlanError
            raise kind(f"TensorRT cannot load the plan of {graph}: {reason}", path=graph)
        self.inputs, self.outputs = _specs(engine, trt, free_shapes)
        names = frozenset(spec.name for spec in self.outputs)
        self._host_outputs = names if options.host_outputs is None else options.host_outputs
        self._workspace = self._pool.take(engine.device_memory_size_v2)
        urgent = options.priority == "urgent"
        # Who waits for a frame can sleep; a prompt's answer is worth a spinning core.
        done = self._cuda.event(sleeping=not urgent)
        self._handles.callback(self._cuda.event_free, done)
        # TensorRT's own side streams would not be urgent, and the slowest stream of a run decides.
        main, *side = (self._new_stream(urgent) for _ in range(1 + engine.num_aux_streams))
        self._streams = Streams(main, tuple(side), done)

    def _new_stream(self, urgent: bool) -> int:
        stream = self._cuda.stream(urgent)
        self._handles.callback(self._cuda.stream_free, stream)
        return stream

    def _shaped(self, shapes: tuple[tuple[int, ...], ...]) -> ShapeContext:
        shaped = self._shapes.get(shapes)
        if shaped is None:
            while len(self._shapes) >= MAX_SHAPES:
                self._shapes.popitem(last=False)[1].close()
            shaped = self._shapes[shapes] = self._new_shaped(shapes)
        self._shapes.move_to_end(shapes)
        return shaped

    @clears_frames
    def _new_shaped(self, shapes: tuple[tuple[int, ...], ...]) -> ShapeContext:
        engine, workspace = self._engine, self._workspace
        assert engine is not None
        assert workspace is not None
        _check_sizes(self.inputs, shapes)
        self._errors.take()
        context = engine.create_execution_context(strategy=self._user_managed)
        if context is None:
            raise EngineError(f"TensorRT makes no execution context: {self._errors.take()}")
        context.set_device_memory(workspace.address, workspace.size)
        context.set_optimization_profile_async(0, self._streams.main)
        for spec, shape in zip(self.inputs, shapes, strict=True):
            if not context.set_input_shape(spec.name, shape):
                least, _, most = engine.get_tensor_profile_shape(spec.name, 0)
                raise InputError(
                    f"input {spec.name} has shape {shape}, the plan takes {_shape(least)} to {_shape(most)}",
                    hint="build one for that size with sam-edge build",
                )
        names = tuple(spec.name for spec in (*self.inputs, *self.outputs))
        return ShapeContext(
            self._cuda,
            context,
            self._streams,
            names,
            self.outputs,
            self._host_outputs,
            self._pool,
            self._errors,
        )


def _specs(
    engine: ICudaEngine, trt: TensorRtModule, shapes: Shapes
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs, with the names that the free dimensions had in the graph."""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise EngineError(
                f"tensor {name} of the plan is {kind}", hint="build one with FP32 inputs and outputs"
            )
        sides = enumerate(_shape(engine.get_tensor_shape(name)))
        shape = tuple(f"{name}_{axis}" if side < 0 else side for axis, side in sides)
        spec = TensorSpec(name, shapes.get(name, shape), _DTYPES[kind])
        (inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs).append(spec)
    return tuple(inputs), tuple(outputs)


def _shape(dims: Any) -> tuple[int, ...]:
    return tuple(int(dims[axis]) for axis in range(len(dims)))


def _check_sizes(specs: tuple[TensorSpec, ...], shapes: tuple[tuple[int, ...], ...]) -> None:
    """Dimensions of one name have one size: TensorRT would find out in the middle of a run."""
    sizes: dict[str, int] = {}
    for spec, shape in zip(specs, shapes, strict=True):
        for side, size in zip(spec.shape, shape, strict=True):
            if isinstance(side, str) and sizes.setdefault(side, size) != size:
                raise InputError(
                    f"input {spec.name} has shape {shape}, but {side} is {sizes[side]} in another input"
                )
