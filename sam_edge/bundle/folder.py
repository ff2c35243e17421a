"""A model as a folder: graphs, their hashes, and what is known about them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from sam_edge.bundle.manifest import EngineSpec, Manifest, dump
from sam_edge.bundle.reading import parse
from sam_edge.errors import BundleError, OutputError
from sam_edge.storage.files import read_limited, sha256
from sam_edge.storage.folders import temporary_folder

MANIFEST = "manifest.json"
ASSETS = Path(str(files("sam_edge"))) / "assets"
"""Where the models that ship inside the package live."""
MAX_MANIFEST_BYTES = 16 << 20
"""Of `manifest.json`; the shipped one has 8 kB, one with every node of a large model raised 1 MB."""


@dataclass(frozen=True)
class Bundle:
    """A model folder that was read; its files are checked when they are used."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of one of the folder's files, after comparing its hash with the manifest's.

        Raises:
            BundleError: the file is missing, not listed, truncated or edited.
        """
        path = self.path / name
        expected = self.manifest.files.get(name)
        if expected is None or Path(name).name != name:
            raise BundleError(f"{name} is not a file of the model in {self.path}")
        _check_is_file(path)
        if sha256(path) != expected:
            raise BundleError(
                f"{path} was edited or damaged after export", path=path, hint="export the model again"
            )
        return path

    def graph(self, name: str, engine: EngineSpec | None = None) -> Path:
        """Checked path of a graph's file, external weights included: the one for `engine`, or the source."""
        graph = self.manifest.graphs.get(name)
        if graph is None:
            raise BundleError(f"the model in {self.path} has no {name} graph", path=self.path)
        made = self.manifest.engines.get(engine.graphs_key, {}) if engine else {}
        file = made.get(name, graph.file)
        for extra in self.manifest.files:
            if extra.startswith(f"{file}."):
                self.file(extra)
        return self.file(file)


def find_bundle(name_or_path: str | Path) -> Bundle:
    """Open a model folder, or a shipped model by its name.

    Raises:
        BundleError: neither a shipped model nor a folder with a sound manifest.
    """
    path = Path(name_or_path)
    if not path.is_dir() and (ASSETS / str(name_or_path) / MANIFEST).is_file():
        path = ASSETS / str(name_or_path)
    if not os.path.lexists(path / MANIFEST):
        shipped = ", ".join(sorted(folder.parent.name for folder in ASSETS.glob(f"*/{MANIFEST}")))
        raise BundleError(
            f"{name_or_path} is not a model: neither a folder with a {MANIFEST} "
            f"nor a shipped model ({shipped or 'none'})"
        )
    bundle = Bundle(path, read_manifest(path / MANIFEST))
    # Rare graphs are opened late: what is not there should not be found out in the middle of a stream.
    manifest = bundle.manifest
    made = (file for files in manifest.engines.values() for file in files.values())
    for file in (*manifest.files, *(graph.file for graph in manifest.graphs.values()), *made):
        _check_is_file(path / file)
    return bundle


def read_manifest(path: str | Path) -> Manifest:
    """Read the file `manifest.json` of a model folder; the files it lists are not looked at.

    Raises:
        BundleError: not a file that can be read, or not a sound manifest of this version's format.
    """
    path = Path(path)
    try:
        data = read_limited(path, MAX_MANIFEST_BYTES)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}", path=path) from error
    return parse(data, str(path))


def _check_is_file(path: Path) -> None:
    """Raise BundleError unless `path` is a regular file: opening a pipe or a socket would wait for ever."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "is missing"
        raise BundleError(f"{path} {what}", path=path, hint="export the model again")


def write_bundle(target: str | Path, manifest: Manifest, contents: Path) -> Bundle:
    """Make the folder `target` out of the files in the folder `contents`, which are moved.

    The folder appears whole or not at all; an older model at `target` is replaced, anything else there is
    left alone. `manifest.files` is filled in from the files.

    Raises:
        OutputError: `target` holds something that is not a model, or cannot be written.
        BundleError: the manifest holds values that no reader would take.
    """
    target = Path(target)
    check_target(target)
    hashes = {file.name: sha256(file) for file in sorted(contents.iterdir())}
    manifest = replace(manifest, files=hashes)
    document = dump(manifest)
    parse(document, str(target / MANIFEST))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target.parent, f".{target.name}-write-") as folder:
            new, old = folder / "new", folder / "old"
            new.mkdir()
            for file in hashes:
                shutil.move(contents / file, new / file)
            (new / MANIFEST).write_bytes(document)
            if target.exists():
                target.rename(old)
            try:
                new.rename(target)
            except BaseException:
                # Nothing may be lost, not even when Ctrl-C falls between the two renames.
                if old.exists():
                    old.rename(target)
                raise
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}", path=target) from error
    return Bundle(target, manifest)


def check_target(target: str | Path) -> None:
    """Raise OutputError unless `target` is free, an empty folder, or an older model, and not where we are.

    Called before an export begins, so that nobody waits minutes for a refusal.
    """
    target = Path(target)
    above = next(folder for folder in target.resolve().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        reason = "may not be written to" if above.is_dir() else "is a file"
        raise OutputError(f"cannot write {target}: {above} {reason}", path=target, hint="choose another --out")
    if target.resolve() == Path.cwd():
        raise OutputError(
            f"{target} is the folder you are in, which cannot be replaced",
            path=target,
            hint="cd .. and name it from there",
        )
    if target.is_dir():
        if any(target.iterdir()) and not (target / MANIFEST).is_file():
            raise OutputError(
                f"{target} holds files that are not a model", path=target, hint="choose another --out"
            )
    elif target.exists():
        raise OutputError(f"{target} is a file", path=target, hint="choose another --out")
