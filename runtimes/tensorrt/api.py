"""What we use of TensorRT, as types; its Python package comes without any.

Everything here is in 10.3 (JetPack 6.1) and still in 11.4, and what builds also in TensorRT for RTX. Classes
and parameters have the package's own names, which `tests/typing/check_tensorrt_api.py` compares with ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Dims(Protocol):
    """A shape; -1 is a free dimension."""

    def __len__(self) -> int: ...

    def __getitem__(self, arg0: int) -> int: ...


class DataType(Protocol):
    """A type of elements."""

    name: str
    """Such as FLOAT, HALF, INT32."""


class IExecutionContext(Protocol):
    """One way of running an engine: shapes, addresses and working memory."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...

    def get_tensor_shape(self, name: str) -> Dims: ...

    def set_tensor_address(self, name: str, memory: int) -> bool: ...

    def set_device_memory(self, memory: int, size: int) -> None: ...

    def set_aux_streams(self, aux_streams: list[int]) -> None: ...

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...

    def execute_async_v3(self, stream_handle: int) -> bool: ...


class ICudaEngine(Protocol):
    """A plan, loaded onto the device."""

    num_io_tensors: int
    num_aux_streams: int
    device_memory_size_v2: int

    def get_tensor_name(self, index: int) -> str: ...

    def get_tensor_mode(self, name: str) -> Any: ...

    def get_tensor_dtype(self, name: str) -> DataType: ...

    def get_tensor_shape(self, name: str) -> Dims: ...

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Dims]: ...

    def create_execution_context(self, strategy: Any) -> IExecutionContext | None: ...


class Runtime(Protocol):
    """Loads plans."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None: ...


class IHostMemory(Protocol):
    """Bytes that TensorRT owns; `memoryview` reads them."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


class ITensor(Protocol):
    """A tensor of the network."""

    name: str
    shape: Sequence[int]


class INetworkDefinition(Protocol):
    """The network that the parser fills."""

    num_inputs: int

    def get_input(self, index: int) -> ITensor: ...


class ParserError(Protocol):
    """Why the parser refused a node."""

    def desc(self) -> str: ...

    def node_name(self) -> str: ...

    def node_operator(self) -> str: ...


class OnnxParser(Protocol):
    """Reads ONNX into a network."""

    num_errors: int

    def parse_from_file(self, model: str) -> bool: ...

    def get_error(self, index: int) -> ParserError: ...


class IOptimizationProfile(Protocol):
    """Which shapes the inputs may have."""

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None: ...


class ITimingCache(Protocol):
    """How long each kernel took on this device."""

    def serialize(self) -> IHostMemory: ...


class IBuilderConfig(Protocol):
    """The builder's settings."""

    profiling_verbosity: Any
    progress_monitor: Any

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...

    def clear_flag(self, flag: Any) -> None: ...

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None: ...

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...

    def get_timing_cache(self) -> ITimingCache | None: ...


class Builder(Protocol):
    """Makes plans of networks."""

    def create_network(self, flags: int) -> INetworkDefinition: ...

    def create_builder_config(self) -> IBuilderConfig: ...

    def create_optimization_profile(self) -> IOptimizationProfile: ...

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None: ...


class TensorRtModule(Protocol):
    """`tensorrt`, or as far as building goes `tensorrt_rtx`. Enumerations are Any: see `MEMBERS`."""

    __version__: str
    BuilderFlag: Any
    ExecutionContextAllocationStrategy: Any
    ILogger: Any
    IProgressMonitor: Any
    MemoryPoolType: Any
    NetworkDefinitionCreationFlag: Any
    ProfilingVerbosity: Any
    TensorIOMode: Any
    Builder: Callable[[Any], Builder]
    OnnxParser: Callable[[INetworkDefinition, Any], OnnxParser]
    Runtime: Callable[[Any], Runtime]


MEMBERS = {
    "BuilderFlag": ("TF32",),
    "ExecutionContextAllocationStrategy": ("USER_MANAGED",),
    "ILogger": ("INTERNAL_ERROR", "ERROR", "WARNING"),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "ProfilingVerbosity": ("DETAILED",),
    "TensorIOMode": ("INPUT", "OUTPUT"),
}
"""Enumeration or interface -> members that we name."""
