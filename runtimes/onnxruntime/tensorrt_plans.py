"""The TensorRT plans that onnxruntime keeps in a folder, which it runs without asking what they are.

It finds a plan by the names in a graph, which all models of a family share. So each graph, device, driver and
onnxruntime has an entry of its own in a `PlanCache`, and what is not as onnxruntime left it is thrown away
before onnxruntime sees it. One process at a time opens a graph.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import onnxruntime as ort

from sam_edge.errors import OutputError, PlanError, SamEdgeError
from sam_edge.host import nvidia_driver as driver
from sam_edge.host.machine import this_machine
from sam_edge.runtimes.tensorrt.cache import PlanCache, check_owner
from sam_edge.storage.cache import cache_folder

from .errors import is_shortage, one_line

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


def plan_entry(graph: Path) -> Path:
    """Where the plans of a graph for the first GPU are kept: all they depend on is in the name.

    Raises:
        EngineError: no driver, or no device.
        BundleError: the graph cannot be read.
    """
    found, machine = driver.probe(), this_machine()
    facts = {
        "sam_edge": version("sam-edge"),
        "onnxruntime": ort.__version__,
        "tf32": not tf32_is_off(),
        "cuda": found.cuda,
        "driver": machine.cuda_driver,
        "l4t": machine.l4t,
        "device": asdict(found.devices[0]),
    }
    return PlanCache(cache_folder("onnxruntime")).entry(graph, facts)


class ProviderPlans:
    """The folder in which onnxruntime keeps the plans of one graph."""

    def __init__(self, entry: Path) -> None:
        self.folder = entry
        self._cache = PlanCache(entry.parent)
        self._seen: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
        self._is_used = False

    def open(self, make: Callable[[Path | None], Session]) -> Session:
        """What `make` gives for the folder, which then holds sound plans or none; for None it keeps nothing.

        Where onnxruntime refuses the plans, they are thrown away and it is asked once more.
        """
        with ExitStack() as stack:
            try:
                self._cache.make_folder(self._cache.folder)
                check_owner(self._cache.folder)
                stack.enter_context(self._cache.lock(self._say_waiting))
                had_plans = self._discard_unsound()
            except (OutputError, OSError, PlanError) as error:
                _log.warning("TensorRT builds its plans at every start: %s", error)
                return make(None)
            self._is_used = True
            try:
                session = make(self.folder)
            except SamEdgeError:  # of the device or its libraries
                raise
            except Exception as error:  # onnxruntime's own errors share no base class
                if not had_plans or is_shortage(str(error)):
                    raise
                _log.warning(
                    "TensorRT refuses its earlier plans (%s) and builds new ones", one_line(str(error))
                )
                self._empty()
                session = make(self.folder)
            self._seal()
            return session

    def after_run(self, shapes: Shapes) -> None:
        """Seal what a run has built: one with shapes that are new may build a plan."""
        kind = tuple(sorted(shapes.items()))
        if not self._is_used or kind in self._seen:
            return
        try:
            with self._cache.lock(None):
                self._seal()
        except BlockingIOError:
            # Another process opens a graph or seals its plans: a later run tries again.
            return
        except OutputError as error:
            _log.warning("TensorRT will build its plans again at the next start: %s", error)
        self._seen.add(kind)

    def discard_refused(self, text: str) -> bool:
        """Throw the plans away if a run failed because of them, by the text of its error.

        The plan of a graph with free dimensions is loaded by the first run, and as long as it is there it
        would fail again.
        """
        if REFUSED not in text:
            return False
        with suppress(OutputError), self._cache.lock(self._say_waiting):
            self._cache.discard(self.folder)
        return True

    def _discard_unsound(self) -> bool:
        """Whether sound plans are there; anything else is removed."""
        try:
            self._cache.check(self.folder)
        except PlanError as error:
            if self.folder.exists() and any(self.folder.iterdir()):
                _log.warning("%s is not what onnxruntime left there: %s", self.folder, error.what)
            self._empty()
            return False
        return True

    def _empty(self) -> None:
        self._cache.discard(self.folder)
        self._cache.make_folder(self.folder)

    def _seal(self) -> None:
        try:
            self._cache.reseal(self.folder)
        except (OutputError, OSError) as error:
            _log.warning("TensorRT will build its plans again at the next start: %s", error)

    def _say_waiting(self) -> None:
        _log.warning("another process opens a graph for TensorRT: waiting")
