"""The TensorRT plans that onnxruntime keeps, which it runs without asking what they are.

It finds a plan by the names in a graph, which all models of a family share, and takes what it finds. So each
graph, device, driver and onnxruntime has a folder of its own, the hashes of what onnxruntime wrote lie
beside it, and anything else is thrown away before onnxruntime sees it. One process at a time opens a graph.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import onnxruntime as ort

from sam_edge import driver
from sam_edge.cache import cache_folder
from sam_edge.errors import BundleError, OutputError, SamEdgeError
from sam_edge.files import locked, naming, sha256, write_bytes
from sam_edge.machine import this_machine
from sam_edge.plans import graph_sha256

from .onnxruntime_errors import is_shortage, one_line

TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""What NVIDIA's libraries read from the environment when they start: at 0 they compute float32 as float32."""
REFUSED = "could not deserialize engine"
"""What onnxruntime says of a plan that TensorRT does not take."""
Session = TypeVar("Session")
Shapes = Mapping[str, tuple[int, ...]]

_log = logging.getLogger(__name__)


def tf32_is_off() -> bool:
    """Whether this process computes float32 as float32."""
    return os.environ.get(TF32_OVERRIDE) == "0"


def plan_folder(graph: Path) -> Path:
    """Where the plans of a graph for the first GPU are kept: all they depend on is in the name.

    Raises:
        EngineError: no driver, or no device.
        BundleError: the graph cannot be read.
    """
    try:
        graph_key = graph_sha256(graph)
    except OSError as error:
        raise BundleError(f"cannot read {graph}: {error.strerror}") from error
    found, machine = driver.probe(), this_machine()
    facts = {
        "onnxruntime": ort.__version__,
        "tf32": not tf32_is_off(),
        "cuda": found.cuda,
        "driver": machine.cuda_driver,
        "l4t": machine.l4t,
        "device": asdict(found.devices[0]),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder("onnxruntime") / f"{graph_key[:32]}-{key[:16]}"


class KeptPlans:
    """A folder of plans. Made for its owner alone: whoever writes there decides what the GPU runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes_path = folder.parent / f"{folder.name}.json"
        self._lock_path = folder.parent / f"{folder.name}.lock"
        self._sealed_stamps: dict[str, tuple[int, int]] = {}
        self._seen: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()

    def open(self, make: Callable[[Path | None], Session]) -> Session:
        """What `make` gives, which is told the folder: it holds sound plans or none. None: keep nothing.

        Where onnxruntime refuses them, they are thrown away and it is asked once more.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._lock_path, self._say_waiting))
                self._discard_unsound()
                self._make_folder()
            except (OutputError, OSError) as error:
                _log.warning("TensorRT builds its plans at every start: %s", error)
                return make(None)
            session = self._make(make)
            self._seal()
            return session

    def after_run(self, shapes: Shapes) -> None:
        """Take notice of what a run has built: one with shapes that are new may build a plan."""
        kind = tuple(sorted(shapes.items()))
        if kind in self._seen:
            return
        self._seen.add(kind)
        if self._stamps() == self._sealed_stamps:
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._lock_path, None))
            except (OutputError, OSError):
                # Another process opens the graph, and seals what lies there when it is done.
                return
            self._seal()

    def discard_refused(self, text: str) -> bool:
        """Throw the plans away if a run failed because of them, as `text` of its error tells.

        The plan of a graph with free dimensions is loaded by the first run, and as long as it is there it
        would fail again.
        """
        if REFUSED not in text:
            return False
        with suppress(OutputError, OSError), locked(self._lock_path, self._say_waiting):
            self._discard()
        return True

    def _make(self, make: Callable[[Path | None], Session]) -> Session:
        had_plans = bool(self._stamps())
        try:
            return make(self.folder)
        except SamEdgeError:  # of the device or its libraries
            raise
        except Exception as error:  # onnxruntime's own errors share no base class
            if not had_plans or is_shortage(str(error)):
                raise
            _log.warning("TensorRT refuses the plans it built before (%s): building anew", one_line(str(error)))
        self._discard()
        self._make_folder()
        return make(self.folder)

    def _discard_unsound(self) -> None:
        self._sealed_stamps = self._stamps()
        if self._hashes() == self._sealed_hashes():
            return
        _log.warning("%s is not what onnxruntime left there: its plans are built anew", self.folder)
        self._discard()

    def _discard(self) -> None:
        with naming(self.folder):
            self._hashes_path.unlink(missing_ok=True)
            if self.folder.exists():
                shutil.rmtree(self.folder)
        self._sealed_stamps = {}

    def _make_folder(self) -> None:
        with naming(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _seal(self) -> None:
        """Write down the hashes of all that onnxruntime wrote; without them it is thrown away."""
        stamps = self._stamps()
        if stamps == self._sealed_stamps:
            return
        try:
            write_bytes(self._hashes_path, json.dumps(self._hashes(), indent=2).encode())
            self._sealed_stamps = stamps
        except (OutputError, OSError) as error:
            _log.warning("TensorRT will build its plans again at the next start: %s", error)

    def _sealed_hashes(self) -> object:
        try:
            return json.loads(self._hashes_path.read_bytes())
        except (OSError, ValueError):
            return {}

    def _hashes(self) -> dict[str, str]:
        return {path.name: sha256(path) for path in self._files()}

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file: whether something was written, without reading it."""
        found = {path.name: path.stat() for path in self._files()}
        return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.is_file())

    def _say_waiting(self) -> None:
        _log.warning("another process opens the same graph for TensorRT: waiting")
