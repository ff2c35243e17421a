"""What opens an engine's graphs, also where a runtime loads only what was built for it on this device.

Most runtimes take any graph. One that does not has an entry in `BUILT_BEFORE`: its opener first builds what is
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sam_edge.bundle.manifest import Manifest
from sam_edge.lazy import import_object
from sam_edge.sessions.backends import Session, SessionLoader, find_loader, split_name

Say = Callable[[str], None]
"""Told what begins now."""

BUILT_BEFORE: Mapping[str, str] = {"tensorrt": "sam_edge.runtimes.tensorrt.prepare:PlanOpener"}
"""Runtime -> "module:class" of the opener for it, which takes (opener, manifest, say, device)."""


class Trial(SessionLoader, Protocol):
    """Opens graphs that are made to be tried. What is built for them goes when the trial ends."""

    def keep(self, graphs: Iterable[Path]) -> None:
        """Keep what was built for these: they have been accepted."""
        ...


class GraphLoader(SessionLoader, Protocol):
    """Opens the graphs of a model. What has to be built for them is kept on this machine."""

    def trial(self, most: int | None = None) -> AbstractContextManager[Trial]:
        """A block in which graphs are tried; `most`: how many different ones, at most, if that is known."""
        ...


@dataclass(frozen=True)
class Plain:
    """Opens graphs in a runtime that takes them as they are."""

    loader: SessionLoader

    def __call__(self, graph: Path, threads: int | None = None) -> Session:
        return self.loader(graph, threads)

    @contextmanager
    def trial(self, most: int | None = None) -> Iterator[Trial]:
        yield self

    def keep(self, graphs: Iterable[Path]) -> None:
        """Nothing was built."""


def find_graph_loader(runtime: str, manifest: Manifest, say: Say = lambda step: None) -> GraphLoader:
    """What opens the graphs of a model in the runtime NAME[:DEVICE].

    Args:
        say: told what is being built, and how much of that there may be.

    Raises:
        InputError: no such runtime.
        MissingExtraError: its library is not installed.
        EngineError: its library cannot be loaded; it has to build, and no device is here to build on.
    """
    loader = find_loader(runtime)[1]
    name, device = split_name(runtime)
    if name not in BUILT_BEFORE:
        return Plain(loader)
    built: Callable[[SessionLoader, Manifest, Say, str | None], GraphLoader] = import_object(BUILT_BEFORE[name])
    return built(loader, manifest, say, device)
