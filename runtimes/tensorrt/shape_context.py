"""One input shape of a TensorRT engine: its context, its fixed addresses, and its CUDA graphs.

TensorRT advises one execution context a captured graph shape; the contexts of an engine share their working
memory, since its runs follow each other. A graph holds addresses, so there is one for each set of them: a pool
that lends the same blocks again keeps these few.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError
from sam_edge.runtimes.cuda.api import CudaApi
from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.memory import Block, MemoryPool, Staging
from sam_edge.tensors import Array, Arrays, TensorSpec

from .api import IExecutionContext
from .library import ErrorLog

_log = logging.getLogger(__name__)

MAX_GRAPHS = 16
"""Graphs of one shape, one for each set of addresses; the least recently used goes."""


@dataclass(frozen=True)
class Streams:
    """Where an engine's work goes."""

    main: int
    side: tuple[int, ...]
    """Where TensorRT puts what it does at the same time; `main` waits for them."""
    done: int
    """The event at the end of a run."""


@dataclass(frozen=True)
class _Run:
    """The addresses of one run, which a graph is bound to."""

    addresses: tuple[int, ...]
    """On the device: inputs, then outputs."""
    uploads: tuple[_HostSide, ...]
    downloads: tuple[_HostSide, ...]


class _HostSide:
    """A tensor that crosses between host and device, with memory on both."""

    def __init__(self, cuda: CudaApi, shape: tuple[int, ...], dtype: str, pool: MemoryPool) -> None:
        self._cuda = cuda
        self._size = _size(shape, dtype)
        self._block = pool.take(self._size)
        self._staging = Staging(cuda, self._size)
        self.view: NDArray[Any] = self._staging.view(shape, dtype)
        self.address = self._block.address

    def upload(self, stream: int) -> None:
        self._cuda.copy(self.address, self._staging.address, self._size, stream)

    def download(self, stream: int) -> None:
        self._cuda.copy(self._staging.address, self.address, self._size, stream)

    def close(self) -> None:
        del self.view, self._block
        self._staging.close()


class ShapeContext:
    """An engine, ready for inputs of one shape."""

    def __init__(
        self,
        cuda: CudaApi,
        context: IExecutionContext,
        streams: Streams,
        names: tuple[str, ...],
        outputs: tuple[TensorSpec, ...],
        host_outputs: frozenset[str],
        pool: MemoryPool,
        errors: ErrorLog,
    ) -> None:
        """`context` has its memory, profile and input shapes; `names` are those of inputs and outputs."""
        self._cuda = cuda
        self._context = context
        self._streams = streams
        self._names = names
        self._outputs = tuple((spec, _output_shape(context, spec.name)) for spec in outputs)
        self._host_outputs = host_outputs
        self._pool = pool
        self._errors = errors
        self._sides: dict[str, _HostSide] = {}
        self._graphs: OrderedDict[_Run, int] = OrderedDict()
        self._is_warm = False
        self._records = True

    def run(self, feeds: Mapping[str, Array]) -> Arrays:
        """Every output: numpy copies for the host, device memory for other graphs."""
        addresses: list[int] = []
        uploads: list[_HostSide] = []
        for name, feed in feeds.items():
            if isinstance(feed, DeviceArray):
                addresses.append(feed.address)
                continue
            array = np.asarray(feed)
            side = self._side(name, array.shape, array.dtype.name)
            np.copyto(side.view, array)
            uploads.append(side)
            addresses.append(side.address)
        blocks: dict[str, Block] = {}
        downloads: list[_HostSide] = []
        for spec, shape in self._outputs:
            if spec.name in self._host_outputs:
                side = self._side(spec.name, shape, spec.dtype)
                downloads.append(side)
                addresses.append(side.address)
            else:
                block = blocks[spec.name] = self._pool.take(_size(shape, spec.dtype))
                addresses.append(block.address)
        self._launch(_Run(tuple(addresses), tuple(uploads), tuple(downloads)))
        self._cuda.record(self._streams.done, self._streams.main)
        self._cuda.wait_event(self._streams.done)
        answer: dict[str, Any] = {}
        for spec, shape in self._outputs:
            if spec.name in blocks:
                answer[spec.name] = DeviceArray(self._cuda, blocks[spec.name], shape, spec.dtype)
            else:
                answer[spec.name] = self._sides[spec.name].view.copy()
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

    def _launch(self, run: _Run) -> None:
        """Put the run's work on the stream.

        The first run goes call by call and lets TensorRT settle what it does but once for a shape; only then
        may it be recorded. Later runs are graphs.
        """
        graph = self._graphs.get(run)
        if graph is None and self._is_warm and self._records:
            graph = self._capture(run)
        if graph is not None:
            self._graphs.move_to_end(run)
            self._cuda.launch_graph(graph, self._streams.main)
            return
        if not self._execute(run):
            raise EngineError(f"TensorRT fails to run: {self._errors.take()}")
        self._is_warm = True

    def _execute(self, run: _Run) -> bool:
        """Put the copies and the engine on the stream, call by call; False if TensorRT refuses."""
        for name, address in zip(self._names, run.addresses, strict=True):
            self._context.set_tensor_address(name, address)
        for side in run.uploads:
            side.upload(self._streams.main)
        if self._streams.side:
            self._context.set_aux_streams(list(self._streams.side))
        # What comes from now on is about this run.
        self._errors.take()
        if not self._context.execute_async_v3(self._streams.main):
            return False
        for side in run.downloads:
            side.download(self._streams.main)
        return True

    def _capture(self, run: _Run) -> int | None:
        """A graph of `_execute`. None where a layer cannot be recorded, which is not tried again."""
        graph, reason = None, ""
        self._cuda.begin_capture(self._streams.main)
        try:
            if not self._execute(run):
                reason = self._errors.take()
        except EngineError as error:
            reason = str(error)
        try:
            graph = self._cuda.end_capture(self._streams.main)
        except EngineError as error:
            reason = reason or str(error)
        if graph is not None and not reason:
            self._graphs[run] = graph
            if len(self._graphs) > MAX_GRAPHS:
                self._cuda.graph_free(self._graphs.popitem(last=False)[1])
            return graph
        if graph is not None:
            self._cuda.graph_free(graph)
        self._records = False
        _log.warning("no CUDA graphs for one shape of %s, whose runs are slower: %s", self._names[0], reason)
        return None

    def _side(self, name: str, shape: tuple[int, ...], dtype: str) -> _HostSide:
        side = self._sides.get(name)
        if side is None:
            side = self._sides[name] = _HostSide(self._cuda, shape, dtype, self._pool)
        return side


def _size(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _output_shape(context: IExecutionContext, name: str) -> tuple[int, ...]:
    dims = context.get_tensor_shape(name)
    shape = tuple(int(dims[axis]) for axis in range(len(dims)))
    if any(side < 0 for side in shape):
        raise EngineError(
            f"output {name} has a size that depends on what is computed", hint="export the model again"
        )
    return shape
