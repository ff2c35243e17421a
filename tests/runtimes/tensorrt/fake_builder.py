"""A TensorRT that builds what it is asked to: it answers, fails and logs, and keeps what it was asked."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PLAN = b"a plan"
MEASURED = b"timings that were measured"


class Severity(IntEnum):
    """As TensorRT numbers them."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    """Base of loggers."""

    INTERNAL_ERROR, ERROR, WARNING, INFO = Severity


class IProgressMonitor:
    """Base of monitors."""


class ParserError(SimpleNamespace):
    """Why a node was refused."""

    def desc(self) -> str:
        return str(self.why)

    def node_name(self) -> str:
        return str(self.name)

    def node_operator(self) -> str:
        return str(self.operator)


class Config(SimpleNamespace):
    """Keeps what it is given."""

    def set_memory_pool_limit(self, pool: str, pool_size: int) -> None:
        self.pools = {pool: pool_size}

    def clear_flag(self, flag: str) -> None:
        self.flags = {flag: False}

    def add_optimization_profile(self, profile: Any) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        # An older TensorRT gives nothing for what it cannot read.
        return (
            None if serialized_timing_cache == b"unreadable" else SimpleNamespace(data=serialized_timing_cache)
        )

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.given_timing, self.ignored = cache.data, ignore_mismatch
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: MEASURED)


class _Builder(SimpleNamespace):
    """What the module's calls are reached through; unlike its base it can be referred to weakly."""


class Profile(dict[str, Any]):
    """Name -> shapes."""

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self[input] = (min, opt, max)


def _from_cpp(call: Any, *arguments: Any) -> Any:
    """Call as C++ does, which no exception may cross."""
    try:
        return call(*arguments)
    except BaseException as error:
        raise AssertionError(f"{error!r} crossed the builder") from error


@dataclass
class FakeTrt:
    """The module. What is a list of log messages is logged before the call fails."""

    inputs: Sequence[str] = ("image",)
    parse_errors: Sequence[ParserError] = ()
    logs: Sequence[tuple[Severity, str]] = ()
    builds: bool = True
    steps: Sequence[tuple[str, str | None, int]] = (("Building engine", None, 2),)
    config: Config = field(default_factory=Config)
    tensors: list[SimpleNamespace] = field(default_factory=list)
    builders: list[weakref.ref[Any]] = field(default_factory=list)
    built: int = 0
    plan: Callable[[Path], bytes] = lambda graph: PLAN
    """What is built of a graph."""

    __version__ = "10.3.0"
    BuilderFlag = SimpleNamespace(TF32="TF32")
    MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
    ILogger = ILogger
    IProgressMonitor = IProgressMonitor

    def Builder(self, logger: Any) -> Any:  # noqa: N802  # TensorRT's name
        self.logger = logger
        builder = _Builder(
            create_network=self._network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=Profile,
            build_serialized_network=self._build,
        )
        self.builders.append(weakref.ref(builder))
        return builder

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802  # TensorRT's name
        return SimpleNamespace(
            parse_from_file=self._parse,
            num_errors=len(self.parse_errors),
            get_error=lambda index: self.parse_errors[index],
        )

    def _parse(self, path: str) -> bool:
        self.graph = Path(path)
        return self.graph.is_file() and not self.parse_errors

    def _network(self, flags: int) -> Any:
        self.network_flags = flags
        self.tensors = [SimpleNamespace(name=name, shape=(1, -1)) for name in self.inputs]
        return SimpleNamespace(num_inputs=len(self.tensors), get_input=lambda index: self.tensors[index])

    def _build(self, network: Any, config: Any) -> Any:
        self.built += 1
        for severity, text in self.logs:
            self.logger.log(severity, text)
        monitor = config.progress_monitor
        for name, parent, count in self.steps:
            monitor.phase_start(name, parent, count)
            for index in range(count):
                if not _from_cpp(monitor.step_complete, name, index):
                    return None
            monitor.phase_finish(name)
        return self.plan(self.graph) if self.builds else None
