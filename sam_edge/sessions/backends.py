"""The port every engine keeps, and the table that finds one.

An engine is thin: it has named inputs and outputs and computes one from the other. Everything a mask means
lives on this side of the port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sam_edge.errors import EngineError, InputError, MissingExtraError
from sam_edge.host.machine import Machine, this_machine
from sam_edge.lazy import EXTRA_OF, import_object
from sam_edge.sessions import scores
from sam_edge.sessions.install import install_hint, unavailable_reason

if TYPE_CHECKING:
    # The doctor comes this way, also where numpy is what is broken.
    import numpy as np
    from numpy.typing import NDArray

    from sam_edge.geometry import View
    from sam_edge.imaging.image import Layout
    from sam_edge.imaging.preprocess import Preprocess
    from sam_edge.tensors import Arrays, TensorSpec

HOST_OUTPUTS = frozenset({"logits", "iou"})
"""Outputs that are numpy arrays on every device; all others only feed other graphs and may stay on it."""


class Session(Protocol):
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
        """Compute every output from all inputs.

        Outputs stay valid after later runs and after `close`. Those that another graph takes may be arrays on
        the device, which have `__array__` and `__dlpack__`; this engine's siblings take them without a copy.
        """
        ...

    def close(self) -> None:
        """Give memory and device back; the engine cannot run afterwards, and closing it again does nothing."""
        ...


class FrameSession(Session, Protocol):
    """An engine that makes an encoder's input itself, on its device or as a part of its graph."""

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        """What `run` answers to `encoder_input(to_rgb(image, layout), view, preprocess)` as `image`.

        Both are in `imaging.image`. `image` uint8 of the layout's shape and of the view's frame size. Equal
        but for roundings: of float32, and of resized pixels by one level of 255 at most.
        """
        ...


class SessionLoader(Protocol):
    """Loads a graph file into an engine that uses at most `threads` cores (None: all of them)."""

    def __call__(self, graph: Path, threads: int | None = None) -> Session: ...


@dataclass(frozen=True)
class Backend:
    """A runtime that can be chosen."""

    where: str
    """"module:class" of its opener, which takes (graph, threads=None, device=None)."""
    library: str
    """The Python package it needs."""
    score: Callable[[Machine], int]
    """How well it suits a machine, without importing anything: 0 is not at all."""
    devices: tuple[str, ...] = ()
    """What may follow its name, as in onnxruntime:cuda; the opener says which of them are here."""
    numbered: tuple[str, ...] = ()
    """Of which devices there may be several, as in openvino:GPU.1."""
    default: str | None = None
    """"module:function" that takes the machine and names the device that runs if none is; None: the first."""
    probe: str | None = None
    """"module:function" that says of each device why it cannot be had, or None where it can."""
    prepare: str | None = None
    """"module:function" that makes, on this machine, what opening an engine lacks (PlanError); it takes the
    bundle, the engine, its opener and what is told of every step."""
    check: str | None = None
    """"module:function" that takes a graph and the device, and raises the PlanError that opening it would."""
    on_request: bool = False
    """Never chosen unasked."""
    complete: Callable[[], bool] = lambda: True
    """Whether what it needs beside its library is installed; told by files alone."""


BACKENDS: Mapping[str, Backend] = {
    "onnxruntime": Backend(
        "sam_edge.runtimes.onnxruntime.session:OnnxRuntimeSession",
        "onnxruntime",
        scores.onnxruntime,
        ("cpu", "cuda", "tensorrt"),
        default="sam_edge.runtimes.onnxruntime.providers:default_device",
        probe="sam_edge.runtimes.onnxruntime.providers:usable_devices",
    ),
    "openvino": Backend(
        "sam_edge.runtimes.openvino.session:OpenVinoSession",
        "openvino",
        scores.openvino,
        ("CPU", "GPU", "NPU", "AUTO"),
        numbered=("GPU", "NPU"),
        default="sam_edge.runtimes.openvino.model:default_device",
        probe="sam_edge.runtimes.openvino.model:usable_devices",
    ),
    "tensorrt": Backend(
        "sam_edge.runtimes.tensorrt.session:TensorRtSession",
        "tensorrt",
        scores.tensorrt,
        ("cuda",),
        numbered=("cuda",),
        probe="sam_edge.runtimes.tensorrt.session:usable_devices",
        prepare="sam_edge.runtimes.tensorrt.prepare:prepare",
        check="sam_edge.runtimes.tensorrt.session:check_plan",
        complete=scores.has_cuda_binding,
    ),
    # Right, but so slow that nobody should get it unasked.
    "reference": Backend(
        "sam_edge.runtimes.reference:ReferenceSession", "onnx", scores.anywhere, on_request=True
    ),
}


def find_loader(name: str | None = None) -> tuple[str, SessionLoader]:
    """The runtime called NAME or NAME:DEVICE, or the best one this machine has.

    Returns:
        Its name with the device it runs on, NAME:DEVICE (NAME where there is nothing to choose), and what
        opens graphs on that device.

    Raises:
        InputError: no runtime, or none of its devices, has that name.
        MissingExtraError: its library is missing; no runtime's library is there.
        EngineError: its library is there and cannot be loaded, or this machine has nothing to run it on.
    """
    machine = this_machine()
    name, device = split_name(best_runtime(machine) if name is None else name)
    entry = BACKENDS[name]
    reason = unavailable_reason(entry.library, machine)
    if reason:
        raise EngineError(f"{name} cannot run here: {reason}; sam-edge doctor shows what can")
    if find_spec(entry.library) is None:
        raise MissingExtraError(
            entry.library, EXTRA_OF[entry.library], hint=install_hint(entry.library, machine)
        )
    try:
        loader: Callable[..., Session] = import_object(entry.where)
    except MissingExtraError:
        raise
    except (ImportError, OSError) as error:
        line = " ".join(str(error).split())
        raise EngineError(
            f"{entry.library} is installed but cannot be loaded ({line})",
            hint="install it anew, or choose another --runtime (sam-edge doctor shows them)",
        ) from error
    if not entry.devices:
        return name, loader
    if device is None:
        device = import_object(entry.default)(machine) if entry.default else entry.devices[0]
    return f"{name}:{device}", partial(loader, device=device)


def check_graphs(name: str, graphs: Iterable[Path]) -> None:
    """Find out what opening these graphs in the runtime NAME:DEVICE would lack; none is opened.

    Raises:
        PlanError: one has no plan here that may be used.
    """
    check, device = find_backend(name).check, split_name(name)[1]
    if check is not None:
        for graph in graphs:
            import_object(check)(graph, device)


def find_backend(name: str) -> Backend:
    """The table's entry of NAME or NAME:DEVICE; raises as `split_name`."""
    return BACKENDS[split_name(name)[0]]


def split_name(text: str) -> tuple[str, str | None]:
    """NAME and DEVICE of NAME[:DEVICE]; the device as the table spells it, in any case in `text`.

    A number after a dot picks one of several, as OpenVINO counts them: openvino:GPU.1.

    Raises:
        InputError: unknown name or device; the known ones are listed.
    """
    name, colon, device = text.partition(":")
    if name not in BACKENDS:
        raise InputError(f"unknown runtime {name!r}", hint=f"choose one of {', '.join(BACKENDS)}")
    if not colon:
        return name, None
    known = BACKENDS[name].devices
    if not known:
        raise InputError(f"runtime {name} has no devices to choose from", hint=f"say --runtime {name}")
    kind, dot, number = device.partition(".")
    spelled = {item.lower(): item for item in known}.get(kind.lower())
    if spelled is None or (dot and not (number.isdecimal() and spelled in BACKENDS[name].numbered)):
        choices = ", ".join(f"{name}:{item}" for item in known)
        raise InputError(f"runtime {name} has no device {device!r}", hint=f"choose one of {choices}")
    return name, f"{spelled}{dot}{number}"


def best_runtime(machine: Machine) -> str:
    """Name of the installed runtime with the best score; the first of the table where none is installed."""
    usable = {
        name: entry.score(machine)
        for name, entry in BACKENDS.items()
        if not entry.on_request and find_spec(entry.library) and entry.complete()
    }
    best = max(usable, key=lambda name: usable[name], default=None)
    return best if best and usable[best] else next(iter(BACKENDS))
