"""A folder to try a model's engines in, and moving what was made there into the model's own folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir

from sam_edge.bundle.folder import ASSETS, MANIFEST, Bundle
from sam_edge.bundle.manifest import EngineSpec, dump
from sam_edge.errors import BundleError
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions
from sam_edge.storage.files import atomic_path, os_errors_as_output_error, write_bytes
from sam_edge.storage.folders import temporary_folder
from sam_edge.tensors import TensorSpec

PREFIX = ".sam-edge-verify-"


@contextmanager
def staging_folder(bundle: Bundle) -> Iterator[Bundle]:
    """The bundle in a folder that may be written to; its files are hard links to the real ones, or copies.

    For weights beside a graph OpenVINO refuses symbolic links, and onnx hard links as well: those are copied.

    Raises:
        BundleError: a file of the bundle is missing, truncated or edited.
    """
    # Here, so that the real file is named.
    for file in bundle.manifest.files:
        bundle.file(file)
    with _folder(bundle) as folder:
        for file in bundle.manifest.files:
            _place(bundle.path / file, folder / file)
        yield Bundle(folder, bundle.manifest)


def commit(bundle: Bundle, work: Bundle, engines: list[EngineSpec]) -> Bundle:
    """Put the graphs that were made for engines into the bundle's folder.

    The folder itself stays, as it may be some process's working folder. First a manifest without these engines
    is written, and in the end one with the new ones: a reader in between finds a sound model.

    Raises:
        OutputError: the folder cannot be written to.
    """
    keys = {engine.graphs_key for engine in engines}
    made = {file for key in keys for file in bundle.manifest.engines.get(key, {}).values()}
    made |= {file for key in keys for file in work.manifest.engines[key].values()}

    def is_made(file: str) -> bool:
        return any(file in (one, f"{one}.data") for one in made)

    old = bundle.manifest
    between = replace(
        old,
        files={file: digest for file, digest in old.files.items() if not is_made(file)},
        engines={key: files for key, files in old.engines.items() if key not in keys},
        fidelity={key: found for key, found in old.fidelity.items() if key not in {one.key for one in engines}},
    )
    files = {file: digest for file, digest in work.manifest.files.items() if (work.path / file).exists()}
    manifest = replace(work.manifest, files=files)
    write_bytes(bundle.path / MANIFEST, dump(between))
    for file in filter(is_made, files):
        with atomic_path(bundle.path / file) as path, os_errors_as_output_error(bundle.path / file):
            shutil.copyfile(work.path / file, path)
    for file in filter(is_made, old.files):
        if file not in files:
            (bundle.path / file).unlink(missing_ok=True)
    write_bytes(bundle.path / MANIFEST, dump(manifest))
    return Bundle(bundle.path, manifest)


@dataclass(frozen=True)
class ShapeCheckedLoader:
    """A loader that refuses graphs which do not have the shapes that the manifest says."""

    loader: SessionLoader
    bundle: Bundle
    """The user's own, whose paths stand in messages."""
    engine: EngineSpec

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        opened = self.loader(graph, options)
        wanted = self.bundle.manifest.graph_of(graph.name)
        for given, said in ((opened.inputs, wanted.inputs), (opened.outputs, wanted.outputs)):
            odd = _odd({spec.name: spec for spec in given}, {spec.name: spec for spec in said})
            if odd:
                opened.close()
                raise BundleError(
                    (
                        f"{self.bundle.path / graph.name} is not the graph that {MANIFEST} describes: in "
                        f"{self.engine} {odd}"
                    ),
                    hint="export the model again",
                )
        return opened


def _odd(given: dict[str, TensorSpec], said: dict[str, TensorSpec]) -> str | None:
    """What differs, in words. Sides that vary have a name in one place and none in another."""
    if given.keys() != said.keys():
        return f"it has {', '.join(given)} instead of {', '.join(said)}"
    for name, spec in said.items():
        shape = given[name].shape
        pairs = zip(shape, spec.shape, strict=False)
        if len(shape) != len(spec.shape) or any(_both_fixed(a, b) and a != b for a, b in pairs):
            return f"{name} is {shape} instead of {spec.shape}"
    return None


def _both_fixed(one: int | str, other: int | str) -> bool:
    return all(isinstance(side, int) and side > 0 for side in (one, other))


@contextmanager
def _folder(bundle: Bundle) -> Iterator[Path]:
    """Beside the model, on the same disk, if that may be written to."""
    beside = bundle.path.resolve().parent
    usable = beside != ASSETS.resolve() and os.access(beside, os.W_OK | os.X_OK)
    with temporary_folder(beside if usable else Path(gettempdir()), PREFIX) as folder:
        yield folder


def _place(source: Path, target: Path) -> None:
    if source.suffix != ".data":
        with suppress(OSError):
            os.link(source.resolve(), target)
            return
    shutil.copyfile(source, target)
