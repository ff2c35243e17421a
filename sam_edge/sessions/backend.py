"""What a backend says of itself: one light value in `sam_edge.runtimes.<name>`, which imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sam_edge.host.machine import Machine

if TYPE_CHECKING:
    from sam_edge.bundle.folder import Bundle
    from sam_edge.bundle.manifest import EngineSpec, Manifest
    from sam_edge.progress import Progress
    from sam_edge.sessions.loaders import GraphLoader
    from sam_edge.sessions.session import SessionLoader


class PlanBuilder(Protocol):
    """What a backend adds that runs only plans built on this device (TensorRT)."""

    def check(self, graphs: Iterable[Path], device: str | None) -> None:
        """Find out what opening these graphs would lack; nothing is opened.

        Raises:
            PlanError: one has no plan here that may be used.
        """
        ...

    def prepare(self, bundle: Bundle, engine: EngineSpec, progress: Progress) -> None:
        """Build all plans that an engine lacks, and compare it with the model before it is used.

        Raises:
            FidelityError: what was built computes something else.
            EngineError: it cannot be built here.
        """
        ...

    def loader(self, manifest: Manifest, device: str | None, progress: Progress) -> GraphLoader:
        """What opens a model's graphs, and builds the plans they lack; see `sessions.loaders`.

        Raises:
            EngineError: no device to build on.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """A library that runs graphs, and how to use it."""

    name: str
    """Such as "openvino": what comes before the colon in openvino:GPU."""
    library: str
    """The Python module it needs, such as "openvino"."""
    open: SessionLoader
    """Imports the library and opens a graph with it."""
    score: Callable[[Machine], int]
    """How well it suits a machine, found without importing anything: 0 is not at all; the best score is
    chosen."""
    extra: str = ""
    """The extra of this package that installs the library; "" where the backend comes from another package."""
    distributions: tuple[str, ...] = ()
    """The packages that bring the library, the first one found counts; (): the library's own name."""
    devices: tuple[str, ...] = ()
    """What may follow the name, as in onnxruntime:cuda; (): there is nothing to choose."""
    numbered: tuple[str, ...] = ()
    """Of which devices there may be several, as in openvino:GPU.1."""
    default_device: Callable[[Machine], str] | None = None
    """The device that runs if none is named; None: the first of `devices`. May import the library."""
    device_problems: Callable[[], Mapping[str, str | None]] | None = None
    """Why each device cannot be used, None where it can; imports the library. None: it runs wherever it
    imports."""
    unavailable: Callable[[Machine], str | None] = lambda machine: None
    """Why it cannot run on a machine, whatever is installed; None if it can."""
    install: Callable[[Machine], str] | None = None
    """The command that installs it on a machine; None: pip and its extra."""
    is_complete: Callable[[], bool] = lambda: True
    """Whether what it needs beside its library is installed; looks at files alone."""
    on_request: bool = False
    """Never chosen unless it is named."""
    plans: PlanBuilder | None = None
    """For a backend that runs plans built on this device; None: it runs graphs as they are."""

    def install_hint(self, machine: Machine) -> str:
        """The command that installs it on a machine."""
        if self.install is not None:
            return self.install(machine)
        return f"pip install 'sam-edge[{self.extra}]'" if self.extra else f"pip install {self.library}"
