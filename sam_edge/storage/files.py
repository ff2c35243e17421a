"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sam_edge.errors import InputError, OutputError

STANDARD_OUTPUT = "-"


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well.

    The temporary name keeps the suffix, because encoders choose the format by it. On any exception, Ctrl-C
    included, the temporary file is removed and `target` stays as it was. A link is followed, and the mode of
    a file that is replaced is kept.

    Raises:
        OutputError: `target` cannot be made, or is there and no regular file.
    """
    final = Path(os.path.realpath(target))
    temporary = _make_temporary(final, str(target))
    try:
        yield temporary
        with os_errors_as_output_error(target):
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            if final.exists():
                temporary.chmod(stat.S_IMODE(final.stat().st_mode))
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def os_errors_as_output_error(target: str | Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `target` into an OutputError that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {target}: {reason}", path=target, hint="choose a place you may write to"
        ) from error


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write `data` to `target` atomically."""
    with atomic_path(target) as temporary, os_errors_as_output_error(target):
        temporary.write_bytes(data)


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; the system lets go of it also when the process dies.

    `waiting` is called before this waits for another process; None: it does not wait.

    Raises:
        OutputError: the file cannot be made. It stays, as does its folder, made for its owner alone.
        BlockingIOError: another process has the lock, and `waiting` is None.
    """
    with os_errors_as_output_error(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_outputs(sources: Sequence[str | Path | None], outputs: Sequence[str | Path | None]) -> None:
    """Find out before the work whether its outputs can be written, and leave nothing behind.

    None stands for nothing, "-" for standard output.

    Raises:
        InputError: two outputs, or an output and a source, are the same.
        OutputError: an output cannot be written.
    """
    names = [str(name) for name in outputs if name is not None]
    paths = [name if name == STANDARD_OUTPUT else os.path.realpath(name) for name in names]
    inputs = {os.path.realpath(source) for source in sources if source is not None}
    for name, path in zip(names, paths, strict=True):
        if path in inputs:
            raise InputError(f"output {name} is an input", hint="choose another name")
        if paths.count(path) > 1:
            raise InputError(f"output {name} is given twice", hint="choose another name")
    for name, path in zip(names, paths, strict=True):
        if path != STANDARD_OUTPUT:
            _try(Path(path), name)


def read_limited(path: str | Path, most_bytes: int) -> bytes:
    """The content of a regular file of at most `most_bytes`; never waits for a pipe's other end.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger; `strerror` says which.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        kind = os.fstat(descriptor)
        if not stat.S_ISREG(kind.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if kind.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it is larger than {most_bytes >> 20} MB", str(path))
        return file.read(kind.st_size)


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in pieces so that gigabytes need no memory."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _try(final: Path, name: str) -> None:
    """Make a file beside `final`, and take it away again with the folders made for it."""
    absent = [folder for folder in final.parents if not os.path.lexists(folder)]
    try:
        _make_temporary(final, name).unlink()
    finally:
        for folder in absent:
            with suppress(OSError):
                folder.rmdir()


def _make_temporary(final: Path, name: str) -> Path:
    """An empty file beside `final`; `name` is what the user calls it."""
    with os_errors_as_output_error(name or "''"):
        if not name:
            raise OSError(0, "the name is empty")
        if final.exists() and not final.is_file():
            kind = "a folder" if final.is_dir() else "no regular file"
            raise OSError(0, f"it is {kind}")
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.parent / f".sam-edge-{secrets.token_hex(6)}{final.suffix}"
        # The system applies the user's umask, as to any new file.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return temporary
