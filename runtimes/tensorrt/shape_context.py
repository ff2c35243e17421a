"""One input shape of a TensorRT engine: its context, its fixed addresses, and its CUDA graphs.

TensorRT advises one execution context a captured graph shape; the contexts of an engine share their working
memory, since its runs follow each other. A graph holds addresses, so there is one for each set of them: a pool
that lends the same blocks again keeps these few.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError, InputError
from sam_edge.runtimes.cuda.api import MIB, CudaApi
from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.memory import Block, MemoryPool, Staging
from sam_edge.runtimes.cuda.release import recording
from sam_edge.segmenter import HOST_OUTPUTS
from sam_edge.tensors import Arrays, TensorSpec, fits

from .api import ErrorLog, IExecutionContext

_log = logging.getLogger(__name__)

MAX_GRAPHS = 16
"""Graphs of one shape, one for each set of addresses; the least recently used goes."""
MAX_FAILURES = 3
"""Recordings of one shape that fail, one after the other, before it is done without; after each of them ten
times as many runs go by, since what disturbed it may pass."""
MAX_MAPPED = MIB
"""Prompts and masks are read and written by the GPU in the processor's memory where both share it; larger
tensors are worth a copy, because their elements are read more than once."""


@dataclass(frozen=True)
class Source:
    """What an input is fed with."""

    shape: tuple[int, ...]
    array: NDArray[Any] | None
    """On the host; None if it is on the device."""
    address: int | None
    """On the device; None if it is on the host."""

    @classmethod
    def of(cls, spec: TensorSpec, value: Any, address: int | None) -> Source:
        """An array on the device at `address`, or one on the host.

        Raises:
            InputError: another type or shape than the graph takes.
        """
        if address is not None:
            return cls(tuple(value.shape), None, address)
        array = np.asarray(value)
        if array.dtype != spec.dtype:
            raise InputError(f"input {spec.name} is {array.dtype}, the graph takes {spec.dtype}")
        if not fits(spec.shape, array.shape):
            raise InputError(f"input {spec.name} has shape {array.shape}, the graph takes {spec.shape}")
        return cls(array.shape, array, None)


@dataclass(frozen=True)
class Run:
    """The addresses of one run."""

    inputs: tuple[int, ...]
    """On the device."""
    from_host: tuple[bool, ...]
    """Which inputs come from the host."""
    outputs: tuple[int, ...]
    """On the device."""
    blocks: tuple[Block | None, ...]
    """Memory that the caller will hold; None for outputs that go to the host."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What a graph is bound to."""
        return self.inputs, self.from_host, self.outputs


@dataclass(frozen=True)
class Streams:
    """Where an engine's work goes."""

    main: int
    side: tuple[int, ...]
    """Where TensorRT puts what it does at the same time; `main` waits for them."""


class _HostSide:
    """A tensor that crosses between host and device: pinned memory, and device memory if that is not mapped."""

    def __init__(self, cuda: CudaApi, shape: tuple[int, ...], dtype: str, pool: MemoryPool) -> None:
        self.size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        device = cuda.device
        mapped = device.integrated and device.can_map_host and self.size <= MAX_MAPPED
        self._block = None if mapped else pool.take(self.size)
        self._staging = Staging(cuda, self.size, mapped)
        self.view = self._staging.view(shape, dtype)
        self._cuda = cuda

    @property
    def address(self) -> int:
        """On the device."""
        if self._block is not None:
            return self._block.address
        assert self._staging.device_address is not None
        return self._staging.device_address

    def upload(self, stream: int) -> None:
        if self._block is not None:
            self._cuda.copy(self._block.address, self._staging.address, self.size, "to_device", stream)

    def download(self, stream: int) -> None:
        if self._block is not None:
            self._cuda.copy(self._staging.address, self._block.address, self.size, "to_host", stream)

    def close(self) -> None:
        del self.view
        self._block = None
        self._staging.close()


class ShapeContext:
    """An engine, ready for inputs of one shape."""

    def __init__(
        self,
        cuda: CudaApi,
        context: IExecutionContext,
        streams: Streams,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        shapes: tuple[tuple[int, ...], ...],
        pool: MemoryPool,
        complaints: ErrorLog,
    ) -> None:
        """`context` has its memory, profile and input shapes already; `complaints` are those of its logger."""
        self._cuda = cuda
        self._context = context
        self._stream = streams.main
        self._side_streams = streams.side
        self._inputs = inputs
        self._outputs = outputs
        self._shapes = shapes
        self._output_shapes = tuple(_output_shape(context, spec.name) for spec in outputs)
        self._pool = pool
        self._sides: dict[str, _HostSide] = {}
        self._graphs: OrderedDict[tuple[Any, ...], int] = OrderedDict()
        self._complaints = complaints
        self._failures = 0
        self._runs_to_next_try = 0
        self._is_warm = False

    def begin(self, sources: list[Source]) -> Run:
        """Bring host inputs into pinned memory, and take memory for the outputs."""
        addresses = []
        for spec, source in zip(self._inputs, sources, strict=True):
            if source.array is None:
                assert source.address is not None
                addresses.append(source.address)
                continue
            side = self._side(spec, source.shape)
            np.copyto(side.view, source.array)
            addresses.append(side.address)
        outputs: list[int] = []
        blocks: list[Block | None] = []
        for spec, shape in zip(self._outputs, self._output_shapes, strict=True):
            if spec.name in HOST_OUTPUTS:
                outputs.append(self._side(spec, shape).address)
                blocks.append(None)
            else:
                block = self._pool.take(int(np.prod(shape)) * np.dtype(spec.dtype).itemsize)
                outputs.append(block.address)
                blocks.append(block)
        from_host = tuple(source.array is not None for source in sources)
        return Run(tuple(addresses), from_host, tuple(outputs), tuple(blocks))

    def launch(self, run: Run) -> bool:
        """Put the run's work on the stream; False if TensorRT refuses.

        The first run goes call by call and lets TensorRT settle what it does but once for a shape; only then
        may it be recorded. Later runs are graphs.
        """
        graph = self._graph(run) if self._is_warm else None
        if graph is not None:
            self._cuda.launch_graph(graph, self._stream)
            return True
        self._is_warm = self._execute(run)
        return self._is_warm

    def finish(self, run: Run) -> Arrays:
        """The outputs of a run that is done: numpy copies for the host, device memory for other graphs."""
        answer: dict[str, Any] = {}
        for spec, shape, block in zip(self._outputs, self._output_shapes, run.blocks, strict=True):
            if block is None:
                answer[spec.name] = self._sides[spec.name].view.copy()
            else:
                answer[spec.name] = DeviceArray(self._cuda, block, shape, spec.dtype)
        return answer

    def close(self) -> None:
        """Give graphs and memory back."""
        try:
            while self._graphs:
                self._cuda.graph_free(self._graphs.popitem()[1])
            while self._sides:
                self._sides.popitem()[1].close()
        finally:
            del self._context

    def _execute(self, run: Run) -> bool:
        """Put the copies and the engine on the stream, call by call; False if TensorRT refuses."""
        specs = (*self._inputs, *self._outputs)
        for spec, address in zip(specs, (*run.inputs, *run.outputs), strict=True):
            self._context.set_tensor_address(spec.name, address)
        for spec, from_host in zip(self._inputs, run.from_host, strict=True):
            if from_host:
                self._sides[spec.name].upload(self._stream)
        if self._side_streams:
            self._context.set_aux_streams(list(self._side_streams))
        # What comes from now on is about this run.
        self._complaints.take()
        if not self._context.execute_async_v3(self._stream):
            return False
        for spec in self._outputs:
            if spec.name in HOST_OUTPUTS:
                self._sides[spec.name].download(self._stream)
        return True

    def _graph(self, run: Run) -> int | None:
        """The graph for these addresses, recorded now if it is new; None where none can be."""
        graph = self._graphs.get(run.key)
        if graph is None and self._may_capture():
            graph, reason = self._capture(run)
            self._learn(graph is not None, reason)
        if graph is not None:
            self._graphs[run.key] = graph
            self._graphs.move_to_end(run.key)
            if len(self._graphs) > MAX_GRAPHS:
                self._cuda.graph_free(self._graphs.popitem(last=False)[1])
        return graph

    def _may_capture(self) -> bool:
        self._runs_to_next_try -= 1
        return self._failures < MAX_FAILURES and self._runs_to_next_try < 0

    def _learn(self, recorded: bool, reason: str) -> None:
        """Try later what could not be recorded now, but not for ever."""
        self._failures = 0 if recorded else self._failures + 1
        self._runs_to_next_try = 0 if recorded else 10**self._failures
        if self._failures == MAX_FAILURES:
            _log.warning("no CUDA graphs for inputs %s, whose runs are slower: %s", self._shapes, reason)

    def _capture(self, run: Run) -> tuple[int | None, str]:
        """A graph of `_execute`; or None, and why: a layer may wait for the device."""
        reason = ""
        with recording():
            self._cuda.begin_capture(self._stream)
            try:
                if not self._execute(run):
                    reason = self._complaints.take()
            except EngineError as error:
                reason = str(error)
            try:
                graph = self._cuda.end_capture(self._stream)
            except EngineError as error:
                return None, reason or str(error)
        if reason:
            self._cuda.graph_free(graph)
        return None if reason else graph, reason

    def _side(self, spec: TensorSpec, shape: tuple[int, ...]) -> _HostSide:
        side = self._sides.get(spec.name)
        if side is None:
            side = self._sides[spec.name] = _HostSide(self._cuda, shape, spec.dtype, self._pool)
        return side


def _output_shape(context: IExecutionContext, name: str) -> tuple[int, ...]:
    dims = context.get_tensor_shape(name)
    shape = tuple(int(dims[axis]) for axis in range(len(dims)))
    if any(side < 0 for side in shape):
        raise EngineError(
            f"output {name} has a size that depends on what is computed", hint="export the model again"
        )
    return shape
