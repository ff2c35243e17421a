"""A GPU that is a queue: CudaApi on the processor's memory.

What is put on a stream waits there until somebody waits for it, and urgent streams go first; so whoever reads
or overwrites memory too early is found out. Memory that is not allocated any more cannot be touched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, local
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError
from sam_edge.runtimes.cuda.api import Arguments, CudaApi, CudaDevice, Size3
from sam_edge.runtimes.cuda.errors import fail, out_of_memory
from tests.runtimes.cuda.host_kernels import compile_for_host

GARBAGE = 0xCD
INVALID_CONTEXT = 201
ILLEGAL_ADDRESS = 700
CAPTURE_BROKEN = 901
Work = Callable[[], None]
T = TypeVar("T")


@dataclass
class Stream:
    """Work in order, and the graph being recorded, if one is."""

    urgent: bool
    queue: deque[Work] = field(default_factory=deque)
    recording: list[Work] | None = None
    broken: bool = False
    held: bool = False


class SimulatedCuda(CudaApi):
    """One GPU with `total` bytes of memory."""

    def __init__(self, total: int = 1 << 30) -> None:
        self.device = CudaDevice(0, "Simulated", (8, 7), 8)
        self.cuda_version = "12.6"
        self.dlpack_device = (1, 0)
        self.total = total
        self.log: list[str] = []
        self.sleeping: dict[int, bool] = {}
        self._thread = local()
        self._device: dict[int, NDArray[np.uint8]] = {}
        self._host: dict[int, NDArray[np.uint8]] = {}
        self._streams: dict[int, Stream] = {}
        self._happened: dict[int, bool] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._host_kernels: dict[int, Callable[..., None]] = {}
        self._next = 1
        self._clock = Condition()
        self.enter()

    # What tests ask

    @property
    def used(self) -> int:
        """Bytes of device memory in use."""
        return sum(buffer.size for buffer in self._device.values())

    @property
    def handles(self) -> int:
        """Streams, events, graphs and pinned buffers that nobody gave back."""
        return len(self._streams) + len(self._happened) + len(self._graphs) + len(self._host)

    @property
    def kernels(self) -> int:
        """How often a kernel was asked for; on a device it stays for good."""
        return len(self._host_kernels)

    def streams(self, urgent: bool) -> list[int]:
        return [handle for handle, stream in self._streams.items() if stream.urgent == urgent]

    def hold(self, handle: int, held: bool = True) -> None:
        """Let a stream's work wait, as if kernels of others filled the device."""
        with self._clock:
            self._streams[handle].held = held
            self._clock.notify_all()

    def enqueue(self, handle: int, label: str, work: Work) -> None:
        """Put work on a stream, or into the graph that is being recorded of it."""
        self._check()

        def logged() -> None:
            self.log.append(label)
            work()

        with self._clock:
            stream = self._streams[handle]
            (stream.queue if stream.recording is None else stream.recording).append(logged)

    def is_recording(self, handle: int) -> bool:
        return self._streams[handle].recording is not None

    @property
    def graphs(self) -> int:
        """Graphs that nobody gave back."""
        return len(self._graphs)

    def break_capture(self, handle: int) -> bool:
        """What a layer does that waits for the device: True if the stream was being recorded."""
        stream = self._streams[handle]
        stream.broken = stream.recording is not None
        return stream.broken

    def bytes_at(self, address: int, size: int) -> NDArray[np.uint8]:
        """Device or pinned memory that has to be allocated there."""
        memory = self._device | self._host
        starts = sorted(memory)
        index = bisect_right(starts, address) - 1
        if index < 0 or address + size > starts[index] + memory[starts[index]].size:
            fail(ILLEGAL_ADDRESS, "cudaErrorIllegalAddress", "using memory")
        offset = address - starts[index]
        return memory[starts[index]][offset : offset + size]

    # CudaApi

    def cubin(self, source: str) -> bytes:
        raise AssertionError("kernels run on the processor")

    def enter(self) -> None:
        self._thread.entered = True

    def memory(self) -> tuple[int, int]:
        return self.total - self.used, self.total

    def malloc(self, size: int) -> int:
        self._refuse_recording()
        if self.used + size > self.total:
            raise EngineError(out_of_memory(size, self.memory(), self.device.name))
        return self._allocate(self._device, size)

    def free(self, address: int) -> None:
        self._refuse_recording()
        self._device.pop(address)[:] = GARBAGE

    def host_malloc(self, size: int) -> int:
        self._refuse_recording()
        return self._allocate(self._host, size)

    def host_free(self, address: int) -> None:
        self._refuse_recording()
        del self._host[address]

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        label = "copy to_host" if target in self._host else "copy to_device"

        def work() -> None:
            self.bytes_at(target, size)[:] = self.bytes_at(source, size)

        self.enqueue(stream, label, work)

    def stream(self, high_priority: bool) -> int:
        return self._handle(self._streams, Stream(high_priority))

    def stream_free(self, stream: int) -> None:
        del self._streams[stream]

    def synchronize(self, stream: int) -> None:
        with self._clock:
            self._work_until(lambda: not self._streams[stream].queue)

    def event(self, sleeping: bool) -> int:
        handle = self._handle(self._happened, True)
        self.sleeping[handle] = sleeping
        return handle

    def event_free(self, event: int) -> None:
        del self._happened[event]

    def record(self, event: int, stream: int) -> None:
        self._happened[event] = False

        def happen() -> None:
            self._happened[event] = True

        self._streams[stream].queue.append(happen)

    def wait_event(self, event: int) -> None:
        with self._clock:
            self._work_until(lambda: self._happened[event])

    def begin_capture(self, stream: int) -> None:
        self._streams[stream].recording = []
        self._streams[stream].broken = False
        self.log.append("capture")

    def end_capture(self, stream: int) -> int:
        recording, self._streams[stream].recording = self._streams[stream].recording, None
        assert recording is not None
        if self._streams[stream].broken:
            fail(CAPTURE_BROKEN, "cudaErrorStreamCaptureInvalidated", "ending a graph")
        return self._handle(self._graphs, recording)

    def launch_graph(self, graph: int, stream: int) -> None:
        self.log.append("graph")
        with self._clock:
            self._streams[stream].queue.extend(self._graphs[graph])

    def graph_free(self, graph: int) -> None:
        del self._graphs[graph]

    def compile(self, source: str, function: str) -> int:
        return self._handle(self._host_kernels, compile_for_host(source, function))

    def launch(self, kernel: int, grid: Size3, block: Size3, arguments: Arguments, stream: int) -> None:
        run = self._host_kernels[kernel]
        self.enqueue(stream, "kernel", lambda: run(*grid[:2], *block[:2], *arguments))

    def _work_until(self, done: Callable[[], bool]) -> None:
        """Do what is queued, the urgent first, until `done`. The lock is held."""
        self._check()
        while not done():
            ready = [stream for stream in self._streams.values() if stream.queue and not stream.held]
            if ready:
                max(ready, key=lambda stream: stream.urgent).queue.popleft()()
                self._clock.notify_all()
            elif not self._clock.wait(timeout=30):
                raise AssertionError("nothing is queued that would bring the end")

    def _check(self) -> None:
        """Refuse threads that have not made the device their own: a real one fails there."""
        if not getattr(self._thread, "entered", False):
            fail(INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "calling CUDA")

    def _allocate(self, memory: dict[int, NDArray[np.uint8]], size: int) -> int:
        buffer = np.full(size, GARBAGE, np.uint8)
        memory[buffer.ctypes.data] = buffer
        return int(buffer.ctypes.data)

    def _refuse_recording(self) -> None:
        self._check()
        assert all(stream.recording is None for stream in self._streams.values()), "memory while recording"

    def _handle(self, table: dict[int, T], value: T) -> int:
        self._check()
        self._next += 1
        table[self._next] = value
        return self._next
