"""A session that computes nothing: zeros of the right shapes, for testing programs without an engine.

`sam_edge.load("nano", runtime="null")` opens a model that answers at once with empty masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sam_edge.bundle.folder import MANIFEST, read_manifest
from sam_edge.errors import BundleError
from sam_edge.sessions.base import BaseSession
from sam_edge.sessions.session import SessionLoader, SessionOptions
from sam_edge.tensors import Array, Arrays


class NullSession(BaseSession):
    """Gives zeros. Knows its inputs and outputs from the manifest beside the graph file, which it does not
    read.

    Args:
        graph: a graph file of a model folder.
        options: of no effect.

    Raises:
        BundleError: no manifest beside the file, or none that lists it.
    """

    def __init__(self, graph: Path, options: SessionOptions = SessionOptions()) -> None:
        if not graph.is_file():
            raise BundleError(f"{graph} is missing", path=graph, hint="export the model again")
        spec = read_manifest(graph.parent / MANIFEST).graph_of(graph.name)
        super().__init__(spec.inputs, spec.outputs)

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        units = self._units(feeds)
        return {
            spec.name: np.zeros(
                [_size(side, units.get(axis, 1)) for axis, side in enumerate(spec.shape)], spec.dtype
            )
            for spec in self.outputs
        }

    def release(self) -> None:
        """There is nothing to give back."""

    def _units(self, feeds: Mapping[str, Array]) -> dict[int, int]:
        """Axis -> what one unit of a free dimension on it is: an input of 288 rows that says "32*rows" has
        9."""
        return {
            axis: feeds[spec.name].shape[axis] // _factor(side)
            for spec in reversed(self.inputs)
            for axis, side in enumerate(spec.shape)
            if isinstance(side, str)
        }


def _factor(side: str) -> int:
    """8 of "8*rows", 1 of "rows"."""
    factor, star, _ = side.partition("*")
    return int(factor) if star else 1


def _size(side: int | str, unit: int) -> int:
    return side if isinstance(side, int) else _factor(side) * unit


_: SessionLoader = NullSession
