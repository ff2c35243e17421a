"""The checks that are the same for every backend: a backend writes only the computing."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EngineError, InputError
from sam_edge.tensors import Array, Arrays, TensorSpec, fits


class BaseSession(ABC):
    """A session whose `run` checks its feeds, that it is open, and that it was opened in this process.

    A subclass sets `inputs` and `outputs` when it is made and writes `compute` and `release`; one with a
    memory of its own also writes `takes`.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    _closed = False
    _pid = -1

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._pid = os.getpid()

    def run(self, feeds: Arrays) -> Arrays:
        """As `Session.run`."""
        self.check_open()
        return self.compute(self._checked(feeds))

    def close(self) -> None:
        """As `Session.close`."""
        if not self._closed:
            self._closed = True
            self.release()

    def check_open(self) -> None:
        """Raise InputError after `close`, EngineError in another process than the one that opened the
        session."""
        if self._closed:
            raise InputError("the session was closed", hint="open the graph again")
        if self._pid != os.getpid():
            # The threads of an engine do not survive a fork: it would wait for them for ever.
            raise EngineError(
                f"the session was opened in process {self._pid} and cannot run in {os.getpid()}",
                hint="open the model again in each process, after the fork",
            )

    @abstractmethod
    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        """Every output of the graph, by name.

        Args:
            feeds: in the order of `inputs`, with the graph's shapes and types: C-contiguous numpy arrays, and
                arrays for which `takes` is true.
        """

    @abstractmethod
    def release(self) -> None:
        """Give memory and device back; called once."""

    def takes(self, array: Array) -> bool:
        """Whether an array that is not numpy's can be read where it lies."""
        return False

    def _checked(self, feeds: Arrays) -> dict[str, Array]:
        if len(feeds) != len(self.inputs):
            known = {spec.name for spec in self.inputs}
            for name in feeds:
                if name not in known:
                    raise InputError(
                        f"the graph has no input {name}",
                        hint=f"give {', '.join(spec.name for spec in self.inputs)}",
                    )
        return {spec.name: self._check(spec, feeds) for spec in self.inputs}

    def _check(self, spec: TensorSpec, feeds: Arrays) -> Array:
        array: Any = feeds.get(spec.name)
        if array is None:
            raise InputError(f"the graph's input {spec.name} is missing")
        if not isinstance(array, np.ndarray) and not self.takes(array):
            array = np.asarray(array)
        if not fits(spec.shape, tuple(array.shape)):
            raise InputError(f"input {spec.name} has shape {tuple(array.shape)}, the graph takes {spec.shape}")
        if array.dtype != spec.dtype:
            raise InputError(f"input {spec.name} is {array.dtype}, the graph takes {spec.dtype}")
        if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
            contiguous: NDArray[Any] = np.ascontiguousarray(array)
            return contiguous
        checked: Array = array
        return checked
