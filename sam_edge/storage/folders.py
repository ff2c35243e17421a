"""Temporary folders beside their target, and clearing those that killed processes left there."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

LOCK = ".sam-edge-lock"
"""File in every temporary folder that its process has locked: the system unlocks it when the process dies."""


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """An empty folder, somewhere below `parent`, which is removed when the block ends.

    Folders of the same prefix that dead processes left in `parent` are removed first.

    Raises:
        OSError: `parent` cannot be written to.
    """
    clear_leftovers(parent, prefix)
    with TemporaryDirectory(dir=parent, prefix=prefix) as name:
        outer = Path(name)
        inner = outer / "files"
        inner.mkdir()
        new = outer / f"{LOCK}-new"
        with new.open("w") as file:
            # It appears under its name already locked. Without a lock, on a disk that has none, it never does.
            if _lock(file):
                new.rename(outer / LOCK)
            yield inner


def clear_leftovers(parent: Path, prefix: str) -> None:
    """Remove temporary folders of that prefix in `parent` whose processes are dead; what cannot go stays."""
    with suppress(OSError):
        for folder in [path for path in parent.iterdir() if path.name.startswith(prefix)]:
            with suppress(OSError), (folder / LOCK).open("r+") as file:
                if _lock(file):
                    shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
