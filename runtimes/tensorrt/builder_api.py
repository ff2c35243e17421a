"""What we use of TensorRT's builder, from 10.3 to 11.x and in TensorRT for RTX, as types.

The Python binding comes without types. The module is a value (`BuilderModule`), so that the same code builds
with `tensorrt` and, in tests, with `tensorrt_rtx`. Classes and parameters have the binding's own names, so that
`tests/typing/check_tensorrt_api.py` can compare them with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


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


class BuilderModule(Protocol):
    """`tensorrt` or `tensorrt_rtx`, as far as building goes. Enumerations are Any: see `MEMBERS`."""

    __version__: str
    BuilderFlag: Any
    MemoryPoolType: Any
    NetworkDefinitionCreationFlag: Any
    ProfilingVerbosity: Any
    ILogger: Any
    IProgressMonitor: Any
    Builder: Callable[[Any], Builder]
    OnnxParser: Callable[[INetworkDefinition, Any], OnnxParser]


MEMBERS = {
    "BuilderFlag": ("TF32",),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "ProfilingVerbosity": ("DETAILED",),
    "ILogger": ("INTERNAL_ERROR", "ERROR", "WARNING"),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
}
"""Enumeration or interface -> members that we name."""
