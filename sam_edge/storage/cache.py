"""Compiled graphs kept on this machine, so that the next start need not compile them again.

Engines execute what a cache holds without looking at it, so every file carries the SHA-256 of its content, and
its name the hash of everything the content depends on. What is damaged is removed and made again; a folder that
cannot be written only costs time.

Files that are made again in seconds (`.blob`) are kept within one limit for all folders together. TensorRT
plans take minutes: they stay until they are replaced, or cleared with `sam-edge cache --clear`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sam_edge.errors import InputError, OutputError
from sam_edge.storage.files import os_errors_as_output_error, read_limited, write_bytes

FOLDER_VARIABLE = "SAM_EDGE_CACHE"
"""Environment variable that names another cache folder."""
LIMIT_VARIABLE = "SAM_EDGE_CACHE_LIMIT"
"""Environment variable with another limit, such as 500M or 2G; 0 keeps nothing."""
MAX_BYTES = 1 << 30
"""What the blobs of all folders may take together; beyond it those that were not used for longest go."""
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_OURS = re.compile(
    r".+\.blob|.+-[0-9a-f]{8}\.(plan|json|lock|refused)|[0-9a-f]{32}-[0-9a-f]{16}(\.json|\.lock)?"
)
"""Names of what this package keeps in a cache folder. The user's own folder may be one."""
MAX_BLOB_BYTES = 64 << 30
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class CacheFolder:
    """What one backend keeps."""

    name: str
    """The backend's, such as openvino."""
    path: Path
    files: int
    """How many files there are."""
    size_bytes: int


def cache_folder(engine: str) -> Path:
    """Where a backend keeps what it compiled: `engine` in `$SAM_EDGE_CACHE`, or in `~/.cache/sam_edge`."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sam_edge"
    return base.expanduser() / engine


def cache_limit() -> int:
    """How many bytes the blobs of all folders may take together: `$SAM_EDGE_CACHE_LIMIT`, or MAX_BYTES.

    Raises:
        InputError: the variable is not a size.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return MAX_BYTES
    size = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([KMGT]?)(?:I?B)?", text.upper())
    if size is None:
        raise InputError(f"{LIMIT_VARIABLE} is {text!r}", hint="give bytes, or a size such as 500M or 2G")
    return int(float(size[1]) * _UNITS[size[2]])


def cached_folders() -> list[CacheFolder]:
    """The folders in which something is kept, by name."""
    found = []
    with suppress(OSError):
        for path in sorted(path for path in cache_folder("any").parent.iterdir() if path.is_dir()):
            sizes = [_size(file) for entry in _ours(path) for file in _files(entry)]
            if sizes:
                found.append(CacheFolder(path.name, path, len(sizes), sum(sizes)))
    return found


def clear_cache(name: str | None = None) -> int:
    """Remove what the folder of that name keeps, or what all do; how many bytes that were.

    Raises:
        InputError: there is no such folder.
        OutputError: something cannot be removed.
    """
    folders = cached_folders()
    chosen = [folder for folder in folders if name in (None, folder.name)]
    if name is not None and not chosen:
        names = ", ".join(folder.name for folder in folders) or "none, the cache is empty"
        raise InputError(f"no cache is called {name!r}", hint=f"there are {names}")
    for folder in chosen:
        for entry in _ours(folder.path):
            with os_errors_as_output_error(entry):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
    return sum(folder.size_bytes for folder in chosen)


class BlobCache:
    """Byte strings by key, in one folder, made for its owner alone: whoever writes there decides what runs."""

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        """`max_bytes` for all folders of the cache together, or for this one if it lies elsewhere; None:
        `cache_limit`."""
        self.folder = folder
        self._max_bytes = cache_limit() if max_bytes is None else max_bytes

    def path(self, key: str) -> Path:
        """Where the blob of a key lies; the key may be any text."""
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.blob"

    def read(self, key: str) -> bytes | None:
        """The blob, or None if it is not there or damaged; a damaged one is removed."""
        path = self.path(key)
        try:
            data = read_limited(path, MAX_BLOB_BYTES)
        except OSError:
            return None
        blob = data[_DIGEST_BYTES:]
        if hashlib.sha256(blob).digest() != data[:_DIGEST_BYTES]:
            self.discard(key)
            return None
        with suppress(OSError):
            os.utime(path)
        return blob

    def write(self, key: str, blob: bytes) -> None:
        """Keep a blob, if the folder can be written and the blob is no larger than the whole cache may be."""
        if len(blob) > self._max_bytes:
            return
        with suppress(OutputError):
            with os_errors_as_output_error(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_bytes(self.path(key), hashlib.sha256(blob).digest() + blob)
            self._prune()

    def discard(self, key: str) -> None:
        """Remove the blob of a key."""
        with suppress(OSError):
            self.path(key).unlink()

    def _prune(self) -> None:
        with suppress(OSError):
            is_cache = self.folder.parent == cache_folder("any").parent
            paths = self.folder.parent.glob("*/*.blob") if is_cache else self.folder.glob("*.blob")
            files = sorted((path.stat().st_mtime_ns, path) for path in paths)
            excess = sum(path.stat().st_size for _, path in files) - self._max_bytes
            for _, path in files:
                if excess <= 0:
                    return
                excess -= path.stat().st_size
                path.unlink()


def _ours(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]


def _files(entry: Path) -> Iterator[Path]:
    """The entry itself, or the files in it."""
    if entry.is_dir() and not entry.is_symlink():
        yield from (path for path in entry.rglob("*") if path.is_file())
    else:
        yield entry


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
