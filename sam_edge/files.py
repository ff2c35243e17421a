"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sam_edge.errors import InputError, OutputError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well.

    The temporary name keeps the suffix, because encoders choose the format by it. On any exception, Ctrl-C
    included, the temporary file is removed and `target` stays as it was.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(21, "is a folder", str(target))
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise OutputError(
            f"cannot write {target}: {error.strerror}; choose a folder you may write to"
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write `data` to `target` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def check_outputs(source: str | Path, outputs: Sequence[str | Path | None]) -> None:
    """Raise InputError if two outputs, or an output and the source, are the same file.

    None and "-", standard output, are no files.
    """
    names = [name for name in outputs if name not in (None, "-")]
    paths = [Path(name).resolve() for name in names if name is not None]
    for name, path in zip(names, paths, strict=True):
        if path == Path(source).resolve():
            raise InputError(f"output {name} is the input: choose another name")
        if paths.count(path) > 1:
            raise InputError(f"output {name} is given twice: choose another name")


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in pieces so that gigabytes need no memory."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
