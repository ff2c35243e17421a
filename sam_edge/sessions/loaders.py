"""What opens the graphs of a model, also where a backend runs only plans that were built on this device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sam_edge.bundle.manifest import Manifest
from sam_edge.progress import Progress, silent
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions


class Trial(SessionLoader, Protocol):
    """Opens graphs that are made to be tried. What is built for them is removed when the trial ends."""

    def keep(self, graphs: Iterable[Path]) -> None:
        """Keep what was built for these graphs."""
        ...


class GraphLoader(SessionLoader, Protocol):
    """Opens the graphs of a model. What has to be built for them is kept on this machine."""

    def trial(self, most: int | None = None) -> AbstractContextManager[Trial]:
        """A block in which graphs are tried.

        Args:
            most: how many different ones, at most, if that is known.
        """
        ...


@dataclass(frozen=True)
class PlainLoader:
    """Opens graphs with a backend that takes them as they are."""

    loader: SessionLoader

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return self.loader(graph, options)

    @contextmanager
    def trial(self, most: int | None = None) -> Iterator[Trial]:
        yield self

    def keep(self, graphs: Iterable[Path]) -> None:
        """Nothing was built."""


def find_graph_loader(name: str, manifest: Manifest, progress: Progress = silent) -> GraphLoader:
    """What opens the graphs of a model on the runtime NAME or NAME:DEVICE.

    Args:
        name: the runtime.
        manifest: of the model.
        progress: shows what is being built.

    Raises:
        InputError: no such runtime.
        MissingExtraError: its library is not installed.
        EngineError: its library cannot be loaded; it has to build, and no device is here to build on.
    """
    runtime = find_runtime(name)
    plans = runtime.backend.plans
    if plans is None:
        return PlainLoader(runtime)
    return plans.loader(manifest, runtime.device, progress)
