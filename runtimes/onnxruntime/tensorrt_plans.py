"""The TensorRT plans that onnxruntime keeps, which it runs without asking what they are.

It finds a plan by the names in a graph, which all models of a family share, and takes what it finds. So each
graph, device, driver and onnxruntime has a folder of its own, the hashes of what onnxruntime wrote lie
beside it, and anything else is thrown away before onnxruntime sees it, as is what other users could have
written. One process at a time opens a graph.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import onnxruntime as ort

from sam_edge.errors import BundleError, OutputError, SamEdgeError
from sam_edge.host import nvidia_driver as driver
from sam_edge.host.machine import this_machine
from sam_edge.runtimes.tensorrt.plan_cache import graph_sha256
from sam_edge.storage.cache import FOLDER_VARIABLE, cache_folder
from sam_edge.storage.files import locked, os_errors_as_output_error, sha256, write_bytes

from .errors import is_shortage, one_line

TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""What NVIDIA's libraries read from the environment when they start: at 0 they compute float32 as float32."""
REFUSED = "could not deserialize engine"
"""What onnxruntime says of a plan that TensorRT does not take."""
Session = TypeVar("Session")
Told = TypeVar("Told")
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
        self._is_used = False

    def open(self, make: Callable[[Path | None], Session]) -> Session:
        """What `make` gives, which is told the folder: it holds sound plans or none. None: keep nothing.

        Where onnxruntime refuses them, they are thrown away and it is asked once more.
        """
        with ExitStack() as stack:
            try:
                self._check_place()
                stack.enter_context(locked(self._lock_path, self._say_waiting))
                self._discard_unsound()
                self._make_folder()
            except (OutputError, OSError) as error:
                _log.warning("TensorRT builds its plans at every start: %s", error)
                return make(None)
            self._is_used = True
            session = self._make(make)
            self._seal()
            return session

    def after_run(self, shapes: Shapes) -> None:
        """Take notice of what a run has built: one with shapes that are new may build a plan."""
        kind = tuple(sorted(shapes.items()))
        if not self._is_used or kind in self._seen:
            return
        # The run has its answer: what goes wrong here only costs time at the next start.
        try:
            if self._stamps() != self._sealed_stamps:
                with locked(self._lock_path, None):
                    self._seal()
        except BlockingIOError:
            # Another process opens the graph, and seals what lies there; or it only seals, perhaps before
            # this run's plan was whole: a later run looks again.
            return
        except (OutputError, OSError) as error:
            self._say_unsealed(error)
        self._seen.add(kind)

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

    def _check_place(self) -> None:
        """Raise OutputError where other users could put a seal and plans of theirs."""
        place = self.folder.parent
        with os_errors_as_output_error(place):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_open = _is_open_to_others(place)
        if is_open:
            raise OutputError(
                (
                    f"{place} can be written by other users, and a plan is a program; forbid it (chmod "
                    f"o-w), or choose another folder with {FOLDER_VARIABLE}"
                ),
                path=place,
            )

    def _discard_unsound(self) -> None:
        self._sealed_stamps = self._stamps()
        parts = (self.folder, self._hashes_path, *self._files())
        is_ours = not any(_is_open_to_others(part) for part in parts if part.exists())
        if is_ours and self._hashes() == self._sealed_hashes():
            return
        _log.warning("%s is not what onnxruntime left there: its plans are built anew", self.folder)
        self._discard()

    def _discard(self) -> None:
        with os_errors_as_output_error(self.folder):
            self._hashes_path.unlink(missing_ok=True)
            if self.folder.exists():
                shutil.rmtree(self.folder)
        self._sealed_stamps = {}

    def _make_folder(self) -> None:
        with os_errors_as_output_error(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _seal(self) -> None:
        """Write down the hashes of all that onnxruntime wrote; without them it is thrown away."""
        stamps = self._stamps()
        if stamps == self._sealed_stamps:
            return
        try:
            hashes = self._hashes()
            # Another process may write while it runs the graph: half of a file is not to be vouched for.
            while stamps != (now := self._stamps()):
                stamps, hashes = now, self._hashes()
            for path in self._files():
                path.chmod(0o600)
            write_bytes(self._hashes_path, json.dumps(hashes, indent=2).encode())
            self._hashes_path.chmod(0o600)
            self._sealed_stamps = stamps
        except (OutputError, OSError) as error:
            self._say_unsealed(error)

    def _sealed_hashes(self) -> object:
        try:
            return json.loads(self._hashes_path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}

    def _hashes(self) -> dict[str, str]:
        return self._of_each(sha256)

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file: whether something was written, without reading it."""

        def stamp(path: Path) -> tuple[int, int]:
            status = path.stat()
            return status.st_size, status.st_mtime_ns

        return self._of_each(stamp)

    def _of_each(self, ask: Callable[[Path], Told]) -> dict[str, Told]:
        """What is asked of each file, by name; without those that another process removes meanwhile."""
        told = {}
        for path in self._files():
            with suppress(FileNotFoundError):
                told[path.name] = ask(path)
        return told

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.is_file())

    def _say_unsealed(self, error: Exception) -> None:
        _log.warning("TensorRT will build its plans again at the next start: %s", error)

    def _say_waiting(self) -> None:
        _log.warning("another process opens the same graph for TensorRT: waiting")


def _is_open_to_others(path: Path) -> bool:
    """Whether another user than this one and root could have written it, as for the plans of our own."""
    status = path.stat()
    return status.st_uid not in {0, os.geteuid()} or bool(status.st_mode & stat.S_IWOTH)
