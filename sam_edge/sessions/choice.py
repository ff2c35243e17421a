"""The table of backends, and choosing one by name, by device, or by score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.errors import EngineError, InputError, MissingExtraError, SamEdgeError
from sam_edge.host.machine import this_machine
from sam_edge.sessions.backend import Backend

if TYPE_CHECKING:
    from sam_edge.host.machine import Machine
    from sam_edge.sessions.session import Session, SessionOptions

BUILT_IN = (
    "sam_edge.runtimes.onnxruntime",
    "sam_edge.runtimes.openvino",
    "sam_edge.runtimes.tensorrt",
    "sam_edge.runtimes.reference",
    "sam_edge.runtimes.null",
)
"""Modules with a `BACKEND`. The first one runs where nothing suits better."""
ENTRY_POINTS = "sam_edge.backends"
"""The group of entry points by which an installed package adds a backend: NAME = "module:BACKEND"."""


@cache
def backends() -> Mapping[str, Backend]:
    """Every backend by name: those of this package, and those of installed packages.

    Raises:
        EngineError: a package's entry point cannot be loaded, is not a Backend, or has a name that is taken.
    """
    found = {}
    for module in BUILT_IN:
        backend: Backend = import_module(module).BACKEND
        found[backend.name] = backend
    for point in entry_points(group=ENTRY_POINTS):
        try:
            added = point.load()
        except Exception as error:  # another package's code may raise anything
            raise EngineError(
                f"backend {point.name} ({point.value}) cannot be loaded ({type(error).__name__}: {error})",
                hint="repair or uninstall the package that brings it",
            ) from error
        if not isinstance(added, Backend) or added.name in found:
            what = f"takes the name {added.name}" if isinstance(added, Backend) else "is not a Backend"
            raise EngineError(f"backend {point.name} ({point.value}) {what}", hint="uninstall its package")
        found[added.name] = added
    return found


@dataclass(frozen=True)
class Runtime:
    """A backend on one of its devices: what `--runtime NAME:DEVICE` names. It opens graphs as a
    `SessionLoader`."""

    backend: Backend
    device: str | None

    @property
    def name(self) -> str:
        """NAME:DEVICE, such as openvino:GPU; NAME where there is nothing to choose."""
        return f"{self.backend.name}:{self.device}" if self.device else self.backend.name

    def __call__(self, graph: Path, options: SessionOptions | None = None) -> Session:
        """Open a graph on this device; raises as `SessionLoader`."""
        from sam_edge.sessions.session import SessionOptions

        with loading(self.backend):
            return self.backend.open(graph, replace(options or SessionOptions(), device=self.device))


def find_runtime(name: str | None = None) -> Runtime:
    """The runtime NAME or NAME:DEVICE, or the best one this machine has.

    Raises:
        InputError: no backend, or none of its devices, has that name.
        MissingExtraError: its library is not installed.
        EngineError: its library is there and cannot be loaded, or this machine has nothing to run it on.
    """
    machine = this_machine()
    name, device = split_name(best_backend(machine) if name is None else name)
    backend = backends()[name]
    reason = backend.unavailable(machine)
    if reason:
        raise EngineError(f"{name} cannot run here: {reason}", hint="sam-edge doctor shows what can")
    if not is_installed(backend.library):
        raise MissingExtraError(backend.library, backend.extra, hint=backend.install_hint(machine))
    if not backend.devices:
        return Runtime(backend, None)
    if device is None:
        with loading(backend):
            default = backend.default_device
            device = default(machine) if default else backend.devices[0]
    return Runtime(backend, device)


def split_name(text: str) -> tuple[str, str | None]:
    """NAME and DEVICE of NAME[:DEVICE]; the device as its backend spells it, in any case in `text`.

    A number after a dot picks one of several: openvino:GPU.1.

    Raises:
        InputError: unknown name or device; the known ones are listed.
    """
    name, colon, device = text.partition(":")
    table = backends()
    if name not in table:
        raise InputError(f"unknown runtime {name!r}", hint=f"choose one of {', '.join(table)}")
    if not colon:
        return name, None
    backend = table[name]
    if not backend.devices:
        raise InputError(f"runtime {name} has no devices to choose from", hint=f"say --runtime {name}")
    kind, dot, number = device.partition(".")
    spelled = {item.lower(): item for item in backend.devices}.get(kind.lower())
    if spelled is None or (dot and not (number.isdecimal() and spelled in backend.numbered)):
        choices = ", ".join(f"{name}:{item}" for item in backend.devices)
        raise InputError(f"runtime {name} has no device {device!r}", hint=f"choose one of {choices}")
    return name, f"{spelled}{dot}{number}"


def best_backend(machine: Machine) -> str:
    """Name of the installed backend with the best score; the first of the table where none is installed."""
    table = backends()
    usable = {
        name: backend.score(machine)
        for name, backend in table.items()
        if not backend.on_request and is_installed(backend.library) and backend.is_complete()
    }
    best = max(usable, key=lambda name: usable[name], default=None)
    return best if best and usable[best] else next(iter(table))


def is_installed(module: str) -> bool:
    """Whether a module, such as openvino or cuda.bindings, could be imported; looks at files alone."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def loading(backend: Backend) -> Iterator[None]:
    """What a broken library raises when it is imported in this block becomes an EngineError of one line."""
    try:
        yield
    except SamEdgeError:
        raise
    except (ImportError, OSError) as error:
        line = " ".join(str(error).split())
        raise EngineError(
            f"{backend.library} is installed but cannot be loaded ({line})",
            hint="install it again, or choose another --runtime (sam-edge doctor shows them)",
        ) from error
