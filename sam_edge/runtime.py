"""The port every engine keeps, and the table that finds one.

An engine is thin: it has named inputs and outputs and computes one from the other. Everything a mask means
lives on this side of the port.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from sam_edge.errors import InputError, MissingExtraError
from sam_edge.lazy import EXTRA_OF, load
from sam_edge.tensors import Arrays, TensorSpec


class Runtime(Protocol):
    """A graph, loaded and ready to compute."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        ...

    def run(self, feeds: Arrays) -> Arrays:
        """Compute every output from all inputs."""
        ...

    def close(self) -> None:
        """Give memory and device back; the engine cannot run afterwards."""
        ...


class OpenRuntime(Protocol):
    """Loads a graph file into an engine that uses at most `threads` cores (None: all of them)."""

    def __call__(self, graph: Path, threads: int | None = None) -> Runtime: ...


# name -> (where it lives, the library it needs), best first
RUNTIMES: Mapping[str, tuple[str, str]] = {
    "onnxruntime": ("sam_edge.runtimes.onnxruntime:OnnxRuntime", "onnxruntime"),
    "reference": ("sam_edge.runtimes.reference:ReferenceRuntime", "onnx"),
}


ONLY_ON_REQUEST = ("reference",)
"""Right, but so slow that nobody should get it unasked."""


def find_runtime(name: str | None = None) -> tuple[str, OpenRuntime]:
    """The named runtime, or the best one this machine has, with its name.

    Raises:
        InputError: no runtime has that name.
        MissingExtraError: its library is missing; no runtime's library is there.
    """
    if name is None:
        usable = [
            key for key, (_, library) in RUNTIMES.items() if key not in ONLY_ON_REQUEST and find_spec(library)
        ]
        name = usable[0] if usable else next(iter(RUNTIMES))
    if name not in RUNTIMES:
        raise InputError(f"unknown runtime {name!r}: choose one of {', '.join(RUNTIMES)}")
    where, library = RUNTIMES[name]
    if find_spec(library) is None:
        raise MissingExtraError(library, EXTRA_OF[library])
    opener: OpenRuntime = load(where)
    return name, opener
