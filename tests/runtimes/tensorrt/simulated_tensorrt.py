"""TensorRT's face over onnxruntime, on a simulated GPU: plans are ONNX files with a mark before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

import numpy as np
import onnxruntime as ort

from sam_edge.runtimes.tensorrt.api import TensorRtModule
from sam_edge.runtimes.tensorrt.cache import PlanCache, Seal
from sam_edge.runtimes.tensorrt.device import Gpu, describe
from sam_edge.runtimes.tensorrt.session import TensorRtSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda

MARK = b"plan:"
WORKSPACE = 4096
PROFILE = (1, 64, 4096)
"""Least, best and most of every free dimension."""
_KINDS = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(string)": "STRING"}
_SIZES: dict[str, type[np.floating[Any]]] = {"FLOAT": np.float32, "HALF": np.float16}


class Logger:
    """Stands for tensorrt.ILogger."""

    ERROR = "error"
    INTERNAL_ERROR = "internal error"


class Mode:
    INPUT = "input"
    OUTPUT = "output"


class Strategy:
    USER_MANAGED = "user managed"


@dataclass(frozen=True)
class Kind:
    name: str


class SimulatedTensorRt:
    """The module `tensorrt` on a simulated GPU."""

    __version__ = "10.3.0"
    ILogger = Logger
    TensorIOMode = Mode
    ExecutionContextAllocationStrategy = Strategy

    def __init__(self, cuda: SimulatedCuda, capturable: bool = True) -> None:
        self.cuda = cuda
        self.capturable = capturable
        self.contexts = 0
        self.side_streams = 1
        self.fails = False
        self.alive: WeakSet[Any] = WeakSet()
        """TensorRT's objects, and the loggers that they use."""

    def Runtime(self, logger: Any) -> SimulatedRuntime:  # noqa: N802  # TensorRT's name
        return SimulatedRuntime(self, logger)


class SimulatedRuntime:
    def __init__(self, trt: SimulatedTensorRt, logger: Any) -> None:
        self._trt = trt
        self.logger = logger
        trt.alive.update({self, logger})

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> SimulatedEngine | None:
        if serialized_engine.startswith(MARK):
            return SimulatedEngine(self._trt, serialized_engine.removeprefix(MARK), self.logger)
        self.logger.log(Logger.ERROR, "Magic tag does not match")
        return None


class SimulatedEngine:
    def __init__(self, trt: SimulatedTensorRt, graph: bytes, logger: Any) -> None:
        self.trt = trt
        self.logger = logger
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.outputs = {node.name: node for node in self.session.get_outputs()}
        self.nodes = self.inputs | self.outputs
        self.device_memory_size_v2 = WORKSPACE
        self.num_aux_streams = trt.side_streams
        self.num_io_tensors = len(self.nodes)
        trt.alive.add(self)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self.nodes)[index])

    def get_tensor_mode(self, name: str) -> str:
        return Mode.INPUT if name in self.inputs else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Kind:
        return Kind(_KINDS[self.nodes[name].type])

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        return [side if isinstance(side, int) else -1 for side in self.nodes[name].shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]:
        shape = self.get_tensor_shape(name)
        return [[limit if side < 0 else side for side in shape] for limit in PROFILE]

    def create_execution_context(self, strategy: Any) -> SimulatedContext:
        assert strategy == Strategy.USER_MANAGED
        self.trt.contexts += 1
        return SimulatedContext(self)


class SimulatedContext:
    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        engine.trt.alive.add(self)
        self._side_streams: tuple[int, ...] = ()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory: tuple[int, int] | None = None
        self._profile: int | None = None
        self._warm = False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        fits = all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        if name in self._shapes:
            return self._shapes[name]
        zeros = {key: np.zeros(shape, self._dtype(key)) for key, shape in self._shapes.items()}
        (answer,) = self.engine.session.run([name], zeros)
        return tuple(answer.shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        self._memory = (memory, size)

    def set_aux_streams(self, aux_streams: list[int]) -> None:
        assert len(aux_streams) == self.engine.num_aux_streams > 0
        self._side_streams = tuple(aux_streams)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile = profile_index
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        trt, cuda = self.engine.trt, self.engine.trt.cuda
        missing = set(self.engine.nodes) - set(self._addresses)
        if trt.fails or missing or self._memory is None or self._memory[1] < WORKSPACE or self._profile != 0:
            self.engine.logger.log(Logger.ERROR, f"not ready: {missing or 'no workspace or profile'}")
            return False
        streams = {stream_handle, *self._side_streams}
        assert any(streams <= set(cuda.streams(urgent)) for urgent in (False, True)), "mixed priorities"
        recorded = not trt.capturable and cuda.break_capture(stream_handle)
        assert self._warm or not cuda.is_recording(stream_handle), "recorded before it ran once"
        self._warm = True
        addresses = dict(self._addresses)
        label = "encode" if "image" in self.engine.inputs else "execute"
        cuda.enqueue(stream_handle, label, lambda: self._compute(addresses))
        return not recorded

    def _compute(self, addresses: dict[str, int]) -> None:
        cuda = self.engine.trt.cuda
        feeds = {}
        for name, shape in self._shapes.items():
            size = int(np.prod(shape)) * np.dtype(self._dtype(name)).itemsize
            feeds[name] = cuda.bytes_at(addresses[name], size).view(self._dtype(name)).reshape(shape)
        names = list(self.engine.outputs)
        for name, value in zip(names, self.engine.session.run(names, feeds), strict=True):
            cuda.bytes_at(addresses[name], value.nbytes)[:] = np.ascontiguousarray(value).view(np.uint8).ravel()

    def _dtype(self, name: str) -> type[np.floating[Any]]:
        return _SIZES[self.engine.get_tensor_dtype(name).name]


class Simulation:
    """A simulated GPU with its TensorRT and its cache of plans."""

    def __init__(self, folder: Path, **options: Any) -> None:
        capturable = options.pop("capturable", True)
        self.cuda = SimulatedCuda(**options)
        self.trt = SimulatedTensorRt(self.cuda, capturable)
        self.cache = PlanCache(folder)
        # A Protocol of a module has attributes that can be set, a class has methods.
        self.gpu = Gpu(self.cuda, cast(TensorRtModule, self.trt))

    def build(self, graph: Path) -> Path:
        """Put a plan of a graph into the cache; what is not a graph has none."""
        facts = describe(self.gpu).facts()
        entry = self.cache.entry(graph, facts)
        try:
            data = graph.read_bytes()
            session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        except Exception:  # onnxruntime's own errors share no base class
            return self.cache.verified(graph, facts)
        nodes = (*session.get_inputs(), *session.get_outputs())
        shapes = {node.name: tuple(node.shape) for node in nodes}
        self.cache.write(entry, MARK + data, Seal({}, "verified", shapes, facts))
        return entry

    def open(self, graph: Path, options: SessionOptions = SessionOptions()) -> TensorRtSession:
        """Build and load."""
        return TensorRtSession(graph, options, gpu=self.gpu, plan=self.build(graph))
