"""A TensorRT plan on the device, with all that its runs need there.

TensorRT's objects have one owner each and no place in a cycle, so that they end when they are let go of: the
garbage collector could end them in the middle of a call of TensorRT, which then waits for itself.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from sam_edge.errors import EngineError, InputError, PlanError
from sam_edge.host.memory import asked_bytes
from sam_edge.runtimes.cuda.api import MIB, CudaApi, out_of_memory
from sam_edge.runtimes.cuda.array import device_address
from sam_edge.runtimes.cuda.memory import Block, MemoryPool
from sam_edge.runtimes.cuda.release import defer_finalizers
from sam_edge.tensors import Arrays, TensorSpec

from .api import (
    ErrorLog,
    ICudaEngine,
    Runtime,
    RuntimeModule,
    is_about_memory,
    make_logger,
)
from .shape_context import ShapeContext, Source, Streams

ENCODER_INPUT = "image"
"""Graphs that take it work for frames; all others for prompts, which are urgent."""
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
        self,
        cuda: CudaApi,
        trt: RuntimeModule,
        plan: bytes,
        graph: Path,
        free_shapes: Mapping[str, tuple[int | str, ...]],
    ) -> None:
        """Load the plan of `graph`, whose tensors have `free_shapes` in it.

        Raises:
            PlanError: TensorRT refuses the plan.
            EngineError: memory is out. In both cases nothing is left on the device.
        """
        self._cuda = cuda
        self._complaints = ErrorLog()
        self._user_managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._pool = MemoryPool(cuda)
        self._shapes: OrderedDict[tuple[tuple[int, ...], ...], ShapeContext] = OrderedDict()
        self._handles = ExitStack()
        self._logger: Any = None
        self._runtime: Runtime | None = None
        self._engine: ICudaEngine | None = None
        self._workspace: Block | None = None
        try:
            with defer_finalizers():
                self._load(trt, plan, graph, free_shapes)
        except BaseException as error:
            # The frames that the error keeps hold TensorRT's objects too.
            traceback.clear_frames(error.__traceback__)
            with suppress(EngineError):
                self.close()
            raise

    def run(self, feeds: Arrays) -> Arrays:
        """As `sam_edge.sessions.backends.Runtime.run`."""
        self._cuda.enter()
        sources = [self._source(spec, feeds) for spec in self.inputs]
        _check_names(self.inputs, feeds)
        shaped = self._shaped(tuple(source.shape for source in sources))
        run = shaped.begin(sources)
        with defer_finalizers():
            launched = shaped.launch(run)
        if not launched:
            raise EngineError(f"TensorRT fails to run: {self._reason()}")
        self._cuda.record(self._done, self._stream)
        self._cuda.wait_event(self._done)
        return shaped.finish(run)

    def close(self) -> None:
        """Give everything back, also what comes after something that fails. A second time does nothing."""
        self._cuda.enter()
        with defer_finalizers(), ExitStack() as last_first:
            last_first.callback(self._pool.close)
            last_first.enter_context(self._handles)
            last_first.callback(self._let_go)
            while self._shapes:
                last_first.callback(self._shapes.popitem()[1].close)

    def _let_go(self) -> None:
        self._engine = self._runtime = self._logger = self._workspace = None

    def _load(
        self,
        trt: RuntimeModule,
        plan: bytes,
        graph: Path,
        free_shapes: Mapping[str, tuple[int | str, ...]],
    ) -> None:
        cuda = self._cuda
        cuda.enter()
        # TensorRT uses its logger and runtime as long as the engine lives.
        self._logger = make_logger(trt, self._complaints)
        self._runtime = trt.Runtime(self._logger)
        self._engine = engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            start, reason = f"TensorRT cannot load the plan of {graph}", self._complaints.take()
            if is_about_memory(reason):
                raise EngineError(f"{start}: {_with_memory(reason, cuda)}")
            raise PlanError(f"{start}: {reason}", hint="run sam-edge build")
        self.inputs, self.outputs = _specs(engine, trt, free_shapes)
        self._workspace = self._pool.take(engine.device_memory_size_v2)
        urgent = all(spec.name != ENCODER_INPUT for spec in self.inputs)
        self._stream = self._new_stream(urgent)
        # TensorRT's own would not be urgent, and the slowest stream of a run decides.
        self._side_streams = tuple(self._new_stream(urgent) for _ in range(engine.num_aux_streams))
        # Who waits for a frame can sleep; a prompt's answer is worth a spinning core.
        self._done = cuda.event(sleeping=not urgent)
        self._handles.callback(cuda.event_free, self._done)

    def _new_stream(self, urgent: bool) -> int:
        stream = self._cuda.stream(urgent)
        self._handles.callback(self._cuda.stream_free, stream)
        return stream

    def _source(self, spec: TensorSpec, feeds: Arrays) -> Source:
        if spec.name not in feeds:
            raise InputError(f"the graph's input {spec.name} is missing")
        return Source.of(spec, feeds[spec.name], device_address(feeds[spec.name], spec, self._cuda))

    def _shaped(self, shapes: tuple[tuple[int, ...], ...]) -> ShapeContext:
        shaped = self._shapes.get(shapes)
        if shaped is None:
            with defer_finalizers():
                while len(self._shapes) >= MAX_SHAPES:
                    self._shapes.popitem(last=False)[1].close()
                try:
                    shaped = self._new_shaped(shapes)
                except BaseException as error:
                    traceback.clear_frames(error.__traceback__)
                    raise
            self._shapes[shapes] = shaped
        self._shapes.move_to_end(shapes)
        return shaped

    def _new_shaped(self, shapes: tuple[tuple[int, ...], ...]) -> ShapeContext:
        engine, workspace = self._engine, self._workspace
        assert engine is not None
        assert workspace is not None
        _check_sizes(self.inputs, shapes)
        self._complaints.take()
        context = engine.create_execution_context(strategy=self._user_managed)
        if context is None:
            raise EngineError(f"TensorRT makes no execution context: {self._reason()}")
        context.set_device_memory(workspace.address, workspace.size)
        context.set_optimization_profile_async(0, self._stream)
        for spec, shape in zip(self.inputs, shapes, strict=True):
            if not context.set_input_shape(spec.name, shape):
                least, _, most = engine.get_tensor_profile_shape(spec.name, 0)
                raise InputError(
                    f"input {spec.name} has shape {shape}, the plan takes {_shape(least)} to {_shape(most)}",
                    hint="build one for that size with sam-edge build",
                )
        streams = Streams(self._stream, self._side_streams)
        return ShapeContext(
            self._cuda, context, streams, self.inputs, self.outputs, shapes, self._pool, self._complaints
        )

    def _reason(self) -> str:
        """What TensorRT complains of; with the memory that there is, if it is that."""
        reason = self._complaints.take()
        return _with_memory(reason, self._cuda) if is_about_memory(reason) else reason


def _with_memory(reason: str, cuda: CudaApi) -> str:
    """TensorRT's words, the memory that there is, and what helps; what was asked only if TensorRT tells it."""
    asked = asked_bytes(reason)
    if asked is not None:
        return f"{reason}; {out_of_memory(asked, cuda)}"
    free, total = cuda.memory()
    return (
        f"{reason}; {free / MIB:.0f} of {total / MIB:.0f} MiB are free on {cuda.device.name}; "
        "close other programs, or export a smaller input or --precision fp16"
    )


def _specs(
    engine: ICudaEngine, trt: RuntimeModule, shapes: Mapping[str, tuple[int | str, ...]]
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


def _check_names(specs: tuple[TensorSpec, ...], feeds: Arrays) -> None:
    unknown = sorted(set(feeds) - {spec.name for spec in specs})
    if unknown:
        raise InputError(f"the graph has no input {', '.join(unknown)}")
