"""TensorRT on NVIDIA GPUs: plans built on this device, run as CUDA graphs.

An encoder works on an ordinary stream, everything that a prompt waits for on an urgent one, so that a decoder
overtakes an encoder that is at work in another thread. Outputs that only feed other graphs stay on the device
and are taken from there without a copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError, InputError, SamEdgeError
from sam_edge.geometry import View
from sam_edge.image import Layout, encoder_input, to_rgb
from sam_edge.machine import this_machine
from sam_edge.manifest import Preprocess
from sam_edge.plans import PlanDevice, find_plan, read_plan
from sam_edge.runtime import OpenRuntime
from sam_edge.tensors import Arrays, TensorSpec

from .cuda import CudaApi, fail_memory, find_cuda
from .device_array import device_address
from .device_memory import MemoryPool
from .letterbox import Letterbox
from .tensorrt_api import Complaints, ICudaEngine, RuntimeModule, load_tensorrt, make_logger
from .tensorrt_shape import Shaped, Source, Streams

ENCODER_INPUT = "image"
"""Graphs that take it work for frames; all others for prompts, which are urgent."""
MAX_SHAPES = 4
"""Input shapes that an engine keeps ready; a camera has one."""
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class Gpu:
    """A device and the TensorRT that works on it."""

    cuda: CudaApi
    trt: RuntimeModule


class TensorRtRuntime:
    """A plan on the device. Runs of one engine follow each other; other engines' runs go on beside them."""

    def __init__(
        self,
        graph: Path,
        threads: int | None = None,
        device: str | None = None,
        *,
        gpu: Gpu | None = None,
        folder: Path | None = None,
    ) -> None:
        """Load the plan of an ONNX graph from the cache.

        Args:
            graph: the ONNX file that the plan was built from.
            threads: of no meaning here; the processor only waits.
            device: `cuda`, or `cuda.1` for the second GPU; None is the first.
            gpu: None finds this machine's.
            folder: the cache of plans; None takes this user's.

        Raises:
            BundleError: there is no plan of this graph for this device; it says why, and how to build one.
            EngineError: no device, driver or memory.
            MissingExtraError: TensorRT or a CUDA binding is not installed.
        """
        gpu = gpu or find_gpu(device_index(device))
        plan, key = read_plan(find_plan(graph, describe(gpu), None, folder))
        self.cuda = gpu.cuda
        """The device; a `Letterbox` of another layout (BGR, NV12) on it makes inputs that need no copy."""
        self.cuda.enter()
        self._complaints = Complaints()
        # TensorRT uses its logger and runtime as long as the engine lives.
        self._logger = make_logger(gpu.trt, self._complaints)
        self._runtime = gpu.trt.Runtime(self._logger)
        self._engine = self._load(plan, graph)
        self.inputs, self.outputs = _specs(self._engine, gpu.trt, key.shapes)
        self._pool = MemoryPool(self.cuda)
        self._workspace = self._pool.take(self._engine.device_memory_size_v2)
        urgent = all(spec.name != ENCODER_INPUT for spec in self.inputs)
        self._stream = self.cuda.stream(urgent)
        # TensorRT's own would not be urgent, and the slowest stream of a run decides.
        self._side_streams = [self.cuda.stream(urgent) for _ in range(self._engine.num_aux_streams)]
        # Who waits for a frame can sleep; a prompt's answer is worth a spinning core.
        self._done = self.cuda.event(sleeping=not urgent)
        self._user_managed = gpu.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._shapes: OrderedDict[tuple[tuple[int, ...], ...], Shaped] = OrderedDict()
        self._letterboxes: dict[Preprocess, Letterbox | None] = {}
        self._lock = Lock()
        self._closed = False

    def run(self, feeds: Arrays) -> Arrays:
        with self._lock:
            if self._closed:
                raise InputError("the engine was closed: open it again")
            self.cuda.enter()
            sources = [self._source(spec, feeds) for spec in self.inputs]
            _check_names(self.inputs, feeds)
            shaped = self._shaped(tuple(source.shape for source in sources))
            run = shaped.begin(sources)
            if not shaped.launch(run):
                raise EngineError(f"TensorRT fails to run: {self._complaints.take()}")
            self.cuda.record(self._done, self._stream)
            self.cuda.wait_event(self._done)
            return shaped.finish(run)

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        """`run` on a frame, which reaches the device as it is: a kernel makes it the encoder's input there."""
        image = to_rgb(image, layout)
        letterbox = self._letterbox(preprocess)
        made: Any = letterbox(image, view) if letterbox else encoder_input(image, view, preprocess)
        return self.run({ENCODER_INPUT: made})

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.cuda.enter()
            for letterbox in self._letterboxes.values():
                if letterbox is not None:
                    letterbox.close()
            while self._shapes:
                self._shapes.popitem()[1].close()
            del self._engine, self._workspace
            self._pool.close()
            self.cuda.event_free(self._done)
            for stream in (self._stream, *self._side_streams):
                self.cuda.stream_free(stream)

    def _letterbox(self, preprocess: Preprocess) -> Letterbox | None:
        """None where CUDA's compiler is missing: the processor does the same, more slowly."""
        with self._lock:
            if self._closed:
                raise InputError("the engine was closed: open it again")
            if preprocess not in self._letterboxes:
                try:
                    self._letterboxes[preprocess] = Letterbox(self.cuda, preprocess)
                except EngineError:
                    self._letterboxes[preprocess] = None
            return self._letterboxes[preprocess]

    def _load(self, plan: bytes, graph: Path) -> ICudaEngine:
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reason = self._complaints.take()
            if "memory" in reason.lower():
                fail_memory(len(plan), self.cuda)
            raise EngineError(f"TensorRT cannot load the plan of {graph}: {reason}; run sam-edge build")
        return engine

    def _source(self, spec: TensorSpec, feeds: Arrays) -> Source:
        if spec.name not in feeds:
            raise InputError(f"the graph's input {spec.name} is missing")
        return Source.of(spec, feeds[spec.name], device_address(feeds[spec.name], spec, self.cuda))

    def _shaped(self, shapes: tuple[tuple[int, ...], ...]) -> Shaped:
        shaped = self._shapes.get(shapes)
        if shaped is None:
            while len(self._shapes) >= MAX_SHAPES:
                self._shapes.popitem(last=False)[1].close()
            shaped = self._new_shaped(shapes)
            self._shapes[shapes] = shaped
        self._shapes.move_to_end(shapes)
        return shaped

    def _new_shaped(self, shapes: tuple[tuple[int, ...], ...]) -> Shaped:
        _check_sizes(self.inputs, shapes)
        context = self._engine.create_execution_context(strategy=self._user_managed)
        if context is None:
            raise EngineError(f"TensorRT makes no execution context: {self._complaints.take()}")
        context.set_device_memory(self._workspace.address, self._workspace.size)
        context.set_optimization_profile_async(0, self._stream)
        for spec, shape in zip(self.inputs, shapes, strict=True):
            if not context.set_input_shape(spec.name, shape):
                least, _, most = self._engine.get_tensor_profile_shape(spec.name, 0)
                raise InputError(
                    f"input {spec.name} has shape {shape}, the plan takes {_shape(least)} to {_shape(most)}: "
                    "build one for that size with sam-edge build"
                )
        streams = Streams(self._stream, tuple(self._side_streams))
        return Shaped(self.cuda, context, streams, self.inputs, self.outputs, shapes, self._pool)


def usable_devices() -> dict[str, str | None]:
    """The first GPU, with None where TensorRT can use it, and why not in one line where it cannot."""
    try:
        find_gpu()
    except SamEdgeError as error:
        return {"cuda": str(error)}
    return {"cuda": None}


def plan_device(device: str | None = None) -> PlanDevice:
    """What plans built for `cuda` or `cuda.N` depend on. Looks for a device before it touches TensorRT.

    Raises:
        EngineError: no CUDA device, or a driver or TensorRT that is too old.
        MissingExtraError: TensorRT or a CUDA binding is not installed.
    """
    return describe(find_gpu(device_index(device)))


def find_gpu(index: int = 0) -> Gpu:
    """This machine's GPU of that number; raises as `plan_device`."""
    cuda = find_cuda(index)
    return Gpu(cuda, load_tensorrt())


def describe(gpu: Gpu) -> PlanDevice:
    """The device and TensorRT as plans depend on them."""
    device, machine = gpu.cuda.device, this_machine()
    return PlanDevice(
        tensorrt=gpu.trt.__version__,
        driver=machine.cuda_driver or "",
        cuda=gpu.cuda.cuda_version,
        device_name=device.name,
        compute_capability="{}.{}".format(*device.compute_capability),
        sm_count=device.sm_count,
        l4t=".".join(str(part) for part in machine.l4t or ()),
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
            raise EngineError(f"tensor {name} of the plan is {kind}: build one with FP32 inputs and outputs")
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


def device_index(device: str | None) -> int:
    """0 for None and `cuda`, N for `cuda.N`."""
    number = (device or "").partition(".")[2]
    return int(number) if number else 0


_: OpenRuntime = TensorRtRuntime
