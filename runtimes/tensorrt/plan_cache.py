"""TensorRT plans: what one was built for, and where it is kept.

A plan is machine code for one TensorRT on one device, and TensorRT runs what it is given: a plan of another
version or device may crash or compute nonsense. So each plan lies in a cache of this device, never in a model
folder, beside a JSON file that says all it depends on (`PlanKey`), and is loaded only if every word of it is
still true.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sam_edge.errors import BundleError, OutputError, PlanError
from sam_edge.storage.cache import cache_folder
from sam_edge.storage.files import os_errors_as_output_error, sha256, write_bytes

UNTRIED = "it was built, and never compared with PyTorch's answers"


@dataclass(frozen=True)
class PlanDevice:
    """What a plan can run on: one version of TensorRT on one kind of device."""

    tensorrt: str
    """`tensorrt.__version__`."""
    driver: str
    """Version of the kernel's NVIDIA driver."""
    cuda: str
    """Newest CUDA version that the driver speaks, such as 12.6."""
    device_name: str
    """Such as NVIDIA RTX A4000, or Orin."""
    compute_capability: str
    """Such as 8.7."""
    sm_count: int
    """Streaming multiprocessors: modules of one name are sold with different numbers of them."""
    l4t: str
    """Release of Jetson's Linux, such as 36.4.3; "" elsewhere."""


@dataclass(frozen=True)
class PlanKey:
    """Everything a plan depends on, and the hash of the plan itself."""

    graph_sha256: str
    """Of the ONNX graph with its external weights, see `graph_sha256`."""
    settings_sha256: str
    """Of the builder's settings, see `settings_sha256`."""
    exporter: str
    """Version of sam-edge that built it."""
    device: PlanDevice
    plan_sha256: str
    """Of the plan's bytes."""
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict, compare=False)
    """Tensor -> shape with the names of its free dimensions, which a plan forgets."""
    unverified: bool = False
    """Whether it was built and not compared with the model yet: only the comparison opens it."""


def this_exporter() -> str:
    """The version of sam-edge, which is part of every key: another one may build other plans."""
    return version("sam-edge")


def plan_folder() -> Path:
    """Where plans of this machine are kept."""
    return cache_folder("tensorrt")


def graph_sha256(graph: Path) -> str:
    """Hex SHA-256 of an ONNX file and of the files of external weights beside it (`<its name>.*`)."""
    parts = [graph, *sorted(graph.parent.glob(f"{graph.name}.*"))]
    hashes = [sha256(part) for part in parts]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def settings_sha256(settings: Mapping[str, Any]) -> str:
    """Hex SHA-256 of builder settings (JSON values); their order does not matter."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def dump(key: PlanKey) -> bytes:
    """The key as UTF-8 JSON."""
    return (json.dumps(asdict(key), indent=2) + "\n").encode()


def parse(data: bytes, where: str) -> PlanKey:
    """Read what `dump` wrote; `where` names the file in messages.

    Raises:
        PlanError: no JSON, missing, unknown or mistyped entries.
    """
    try:
        document = json.loads(data)
        device = PlanDevice(**document.pop("device"))
        shapes = {str(name): tuple(shape) for name, shape in document.pop("shapes").items()}
        key = PlanKey(**document, device=device, shapes=shapes)
        for value in (key, device):
            _check_types(value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PlanError(f"{where} is damaged ({error})", path=where, hint="run sam-edge build") from error
    return key


def mismatch(key: PlanKey, graph: str, device: PlanDevice, settings: str | None = None) -> str | None:
    """Why a plan of that key must not be loaded, in words, or None if it may.

    Args:
        key: what the plan was built for.
        graph: `graph_sha256` of the graph that is wanted.
        device: what is here.
        settings: `settings_sha256` of the settings that are wanted; None takes any.
    """
    pairs = [("sam-edge", key.exporter, this_exporter())]
    pairs += [
        (item.name.replace("_", " "), getattr(key.device, item.name), getattr(device, item.name))
        for item in fields(PlanDevice)
    ]
    if key.graph_sha256 != graph:
        return "the graph has changed since it was built"
    for name, built, here in pairs:
        if built != here:
            return f"it was built for {name} {built or 'none'}, here is {here or 'none'}"
    if settings not in {None, key.settings_sha256}:
        return "it was built with other settings"
    return None


def write_plan(graph: Path, plan: bytes, key: PlanKey, folder: Path | None = None) -> Path:
    """Keep a plan and its key; an older one of the same graph, device and settings is replaced.

    The key is written last: a plan without one is never loaded. The folder is made for its owner alone,
    because whoever writes a plan decides what the GPU runs.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = plan_path(graph, key, folder)
    with os_errors_as_output_error(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written over, it would keep its mode, which may be what is wrong with it.
    discard_plan(path)
    write_bytes(path, plan)
    write_bytes(key_path(path), dump(key))
    return path


def plan_path(graph: Path, key: PlanKey, folder: Path | None = None) -> Path:
    """Where the plan of a key is kept: graph, device and settings have each a part in the name."""
    device = hashlib.sha256(json.dumps(asdict(key.device), sort_keys=True).encode()).hexdigest()
    name = f"{_prefix(graph, key.graph_sha256)}{key.settings_sha256[:8]}-{device[:8]}.plan"
    return (folder or plan_folder()) / name


def key_path(plan: Path) -> Path:
    """The JSON file that holds a plan's key."""
    return plan.with_suffix(".json")


def find_plan(
    graph: Path,
    device: PlanDevice,
    settings: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    *,
    unverified: bool = False,
) -> Path:
    """The plan of a graph for this device; the newest if there are several.

    Args:
        graph: the ONNX file it was built from.
        device: what is here, see `sam_edge.runtimes.tensorrt.session.plan_device`.
        settings: the builder's settings that are wanted; None takes a plan of any.
        folder: None takes `plan_folder()`.
        untried: whether one that was not compared yet is good where there is no other.

    Raises:
        PlanError: there is no plan of it, or none that may be loaded: it says why, and how to build one.
        BundleError: the graph cannot be read.
    """
    try:
        wanted = graph_sha256(graph)
    except OSError as error:
        raise BundleError(f"cannot read {graph}: {error.strerror}") from error
    wanted_settings = None if settings is None else settings_sha256(settings)
    hint = f"run sam-edge build {graph.parent}"
    reasons = []
    new = None
    for path in _plans(graph, wanted, folder or plan_folder()):
        try:
            key = read_key(path)
            reason = mismatch(key, wanted, device, wanted_settings)
        except PlanError as error:
            reason = error.what
        else:
            if reason is None and not key.unverified:
                return path
            if reason is None:
                reason, new = UNTRIED, new or path
        reasons.append(reason)
    if new and unverified:
        return new
    if reasons:
        raise PlanError(f"the TensorRT plan of {graph} does not fit: {reasons[0]}", path=graph, hint=hint)
    raise PlanError(f"{graph} has no TensorRT plan for this device yet", path=graph, hint=hint)


def read_plan(path: Path) -> tuple[bytes, PlanKey]:
    """A plan's bytes, after comparing their hash with the key's, and the key.

    A damaged plan is removed together with its key, so that the next build makes it anew.

    Raises:
        PlanError: the plan is missing or damaged, or somebody else may have written it.
    """
    try:
        for file in (path, key_path(path)):
            _check_owner(file)
        key = read_key(path)
        plan = path.read_bytes()
    except OSError as error:
        raise PlanError(f"cannot read {error.filename}: {error.strerror}", hint="run sam-edge build") from error
    if hashlib.sha256(plan).hexdigest() == key.plan_sha256:
        return plan, key
    if read_key(path) != key:
        # Another process has written both meanwhile.
        return read_plan(path)
    raise PlanError(f"{path} {_discard_damaged(path)}", path=path, hint="run sam-edge build")


def discard_plan(path: Path) -> None:
    """Remove a plan and its key, the key first: a plan without one is never loaded."""
    with os_errors_as_output_error(path):
        key_path(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _discard_damaged(path: Path) -> str:
    """What became of a plan, in words. Where it cannot be removed it is still not loaded."""
    try:
        discard_plan(path)
    except OutputError:
        return "is damaged"
    return "was damaged and has been removed"


def _plans(graph: Path, graph_hash: str, folder: Path) -> list[Path]:
    """Plans of this graph, for whatever device, newest first."""
    keys = folder.glob(f"{glob.escape(_prefix(graph, graph_hash))}*.json")
    return [path.with_suffix(".plan") for path in sorted(keys, key=_written_ns, reverse=True)]


def _prefix(graph: Path, graph_hash: str) -> str:
    return f"{graph.stem}-{graph_hash[:16]}-"


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # another process has just replaced it
        return 0


def read_key(path: Path) -> PlanKey:
    """The key of a plan; one that cannot be understood is removed with its plan.

    Raises:
        PlanError: it is missing, damaged or cannot be read.
    """
    try:
        return parse(key_path(path).read_bytes(), str(key_path(path)))
    except PlanError as error:
        raise PlanError(f"{key_path(path)} {_discard_damaged(path)}", hint="run sam-edge build") from error
    except FileNotFoundError as error:
        raise PlanError(f"{key_path(path)} is missing", hint="run sam-edge build") from error
    except OSError as error:
        raise PlanError(f"cannot read {key_path(path)}: {error.strerror}", hint="run sam-edge build") from error


def _check_owner(path: Path) -> None:
    status = path.stat()
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & stat.S_IWOTH:
        raise PlanError(
            f"{path} can be written by other users, and a plan is a program",
            path=path,
            hint="run sam-edge build",
        )


def _check_types(value: PlanKey | PlanDevice) -> None:
    for item in fields(value):
        wanted = {"str": str, "int": int, "bool": bool}.get(str(item.type))
        given = getattr(value, item.name)
        if wanted and not isinstance(given, wanted):
            raise TypeError(f"{item.name} is {given!r}")
