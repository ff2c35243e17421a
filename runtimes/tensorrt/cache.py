"""Plans kept on this machine: those that we build, and those that onnxruntime's TensorRT provider builds.

A plan is machine code for one TensorRT on one device, and is run as it is found: one of another version or
device may crash or compute nonsense. So the name of an entry holds the hash of all that it depends on, and a
JSON file beside it, its seal, holds the hash of its bytes and whether it was compared with the model. An entry
is a file, or the folder that onnxruntime fills.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from sam_edge.errors import BundleError, OutputError, PlanError
from sam_edge.storage.files import locked, os_errors_as_output_error, sha256, write_bytes

State = Literal["verified", "unverified", "refused"]
"""Whether it computes what the model computes; `unverified`: nobody has compared it yet."""
Shapes = Mapping[str, tuple[int | str, ...]]
_WHY: Mapping[State, str] = {
    "unverified": "has a TensorRT plan that has not been compared with PyTorch's answers yet",
    "refused": "has a TensorRT plan that computed something else than PyTorch",
}


@dataclass(frozen=True)
class Seal:
    """What is known about an entry."""

    files: Mapping[str, str]
    """Name -> hex SHA-256 of each file."""
    state: State
    shapes: Shapes = field(default_factory=dict)
    """Tensor -> shape with the names of its free dimensions, which a plan forgets."""
    built_for: Mapping[str, Any] = field(default_factory=dict)
    """The versions and the device that the entry depends on, as JSON values."""


class PlanCache:
    """Plans in one folder, made for its owner alone: whoever writes there decides what the GPU runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, graph: Path, facts: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Path:
        """Where the plan of a graph is kept.

        Args:
            graph: the ONNX file.
            facts: what the plan depends on beside the graph: versions and the device, as JSON values.
            settings: how it is built, as JSON values.

        Raises:
            BundleError: the graph cannot be read.
        """
        return self.folder / f"{_prefix(graph, facts)}{_hash(settings)[:8]}.plan"

    def lock(self, waiting: Callable[[], None] | None) -> AbstractContextManager[None]:
        """A block that one process at a time is in; see `storage.files.locked`."""
        return locked(self.folder / "lock", waiting)

    def find(
        self, graph: Path, facts: Mapping[str, Any], states: Sequence[State] = get_args(State)
    ) -> tuple[Path, Seal] | None:
        """The newest plan of a graph, whatever its settings; of several states the one named first."""
        found = self._newest_first(_prefix(graph, facts))
        return min(
            (item for item in found if item[1].state in states),
            key=lambda item: states.index(item[1].state),
            default=None,
        )

    def verified(self, graph: Path, facts: Mapping[str, Any]) -> Path:
        """The plan of a graph that may be run.

        Raises:
            PlanError: there is none: it says why, and how to build one.
            BundleError: the graph cannot be read.
        """
        found = self.find(graph, facts)
        if found is None or found[1].state != "verified":
            raise PlanError(
                f"{graph} {_WHY[found[1].state] if found else self._mismatch(graph, facts)}",
                path=graph,
                hint=f"run sam-edge build {graph.parent}",
            )
        return found[0]

    def check(self, entry: Path) -> Seal:
        """The seal of an entry whose files are what was sealed; other files are removed.

        Raises:
            PlanError: it is missing, damaged or refused, or other users may have written it.
        """
        try:
            seal = self.seal(entry)
            for path in (self.folder, entry, _seal_path(entry), *_files(entry)):
                check_owner(path)
            intact = bool(seal.files) and _hashes(entry) == seal.files
        except OSError as error:
            raise PlanError(f"cannot read {error.filename}: {error.strerror}", path=entry) from error
        if not intact:
            raise self._damaged(entry)
        return seal

    def is_sound(self, entry: Path) -> bool:
        """Whether an entry may be used, once it was compared with the model. A damaged one is removed."""
        try:
            return self.check(entry).state != "refused"
        except PlanError:
            return False

    def seal(self, entry: Path) -> Seal:
        """What is known about an entry, whose files are not looked at.

        Raises:
            PlanError: nothing, or it is damaged; a damaged one is removed.
        """
        path = _seal_path(entry)
        try:
            document = json.loads(path.read_bytes())
            built_for = dict(document["built_for"])
            files = {str(name): str(digest) for name, digest in document["files"].items()}
            shapes = {str(name): tuple(shape) for name, shape in document["shapes"].items()}
            seal = Seal(files, document["state"], shapes, built_for)
            if seal.state not in get_args(State):
                raise ValueError(f"state {seal.state!r}")
        except OSError as error:
            raise PlanError(f"cannot read {path}: {error.strerror}", path=entry) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._damaged(entry) from error
        return seal

    def write(self, entry: Path, data: bytes, seal: Seal) -> None:
        """Keep a plan, instead of an older one of that name. The caller holds the lock.

        Args:
            seal: what is known about it but its `files`, which are hashed here.

        Raises:
            OutputError: the folder cannot be written.
        """
        self.make_folder(self.folder)
        self.discard(entry)
        write_bytes(entry, data)
        self.put_seal(entry, replace(seal, files=_hashes(entry)))

    def reseal(self, entry: Path) -> None:
        """Seal what lies in a folder that somebody else fills. The caller holds the lock."""
        self.put_seal(entry, Seal(_hashes(entry), "verified"))

    def put_seal(self, entry: Path, seal: Seal) -> None:
        """Write the seal, and let only the owner write to the files; raises as `write`."""
        with os_errors_as_output_error(entry):
            for path in _files(entry):
                path.chmod(0o600)
        # Written last: a plan without it is never loaded.
        write_bytes(_seal_path(entry), (json.dumps(asdict(seal), indent=2) + "\n").encode())
        with os_errors_as_output_error(entry):
            _seal_path(entry).chmod(0o600)

    def judge(self, entry: Path, seal: Seal, state: State) -> None:
        """Write down what a comparison found, if the entry is still what was compared.

        Of a refused one only the seal stays, so that it is not built again unasked.

        Raises:
            OutputError: the folder cannot be written.
        """
        with self.lock(lambda: None), suppress(PlanError):
            if self.seal(entry) == seal:
                self.put_seal(entry, replace(seal, state=state))
                if state == "refused":
                    _remove(entry)

    def discard(self, entry: Path) -> None:
        """Remove an entry, its seal first; raises as `write`."""
        with os_errors_as_output_error(entry):
            _seal_path(entry).unlink(missing_ok=True)
        _remove(entry)

    def make_folder(self, folder: Path) -> None:
        """Make the cache's folder, or one in it; raises as `write`."""
        with os_errors_as_output_error(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _newest_first(self, prefix: str) -> list[tuple[Path, Seal]]:
        found = []
        for path in self.folder.glob(f"{glob.escape(prefix)}*.plan.json"):
            with suppress(PlanError, OSError):
                entry = path.with_suffix("")
                found.append((-path.stat().st_mtime_ns, entry, self.seal(entry)))
        return [(entry, seal) for _, entry, seal in sorted(found, key=lambda item: item[0])]

    def _mismatch(self, graph: Path, facts: Mapping[str, Any]) -> str:
        """Why a graph has no plan, after what its newest one was built for."""
        for _, seal in self._newest_first(_prefix(graph))[:1]:
            other = [
                f"{name} {seal.built_for.get(name)}, here {value}"
                for name, value in facts.items()
                if value != seal.built_for.get(name)
            ]
            return f"has a TensorRT plan that was built for {'; '.join(other)}"
        return "has no TensorRT plan for this device, driver and TensorRT yet"

    def _damaged(self, entry: Path) -> PlanError:
        try:
            self.discard(entry)
        except OutputError:
            # It is not loaded either.
            return PlanError(f"{entry} is damaged", path=entry)
        return PlanError(f"{entry} was damaged and has been removed", path=entry)


def graph_sha256(graph: Path) -> str:
    """Hex SHA-256 of an ONNX file and of the files of external weights beside it (`<its name>.*`).

    Raises:
        BundleError: one cannot be read.
    """
    try:
        hashes = [sha256(part) for part in (graph, *sorted(graph.parent.glob(f"{glob.escape(graph.name)}.*")))]
    except OSError as error:
        raise BundleError(f"cannot read {graph}: {error.strerror}", path=graph) from error
    return _hash(hashes)


def check_owner(path: Path) -> None:
    """Raise PlanError where other users may write to a path."""
    status = path.stat()
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & stat.S_IWOTH:
        raise PlanError(
            f"{path} can be written by other users, and a plan is a program",
            path=path,
            hint="run chmod o-w on it, or sam-edge build",
        )


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _prefix(graph: Path, facts: Mapping[str, Any] | None = None) -> str:
    """How the names of all entries of a graph begin, or of those that were built for `facts`."""
    prefix = f"{graph.stem}-{graph_sha256(graph)[:32]}-"
    return prefix if facts is None else f"{prefix}{_hash(facts)[:32]}-"


def _seal_path(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.json")


def _files(entry: Path) -> Iterator[Path]:
    paths = entry.rglob("*") if entry.is_dir() else [entry]
    return (path for path in paths if path.is_file())


def _hashes(entry: Path) -> dict[str, str]:
    return {str(path.relative_to(entry.parent)): sha256(path) for path in _files(entry)}


def _remove(entry: Path) -> None:
    with os_errors_as_output_error(entry):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
