"""Compiled graphs kept on this machine, so that the next start need not compile them again.

Engines execute what a cache holds without looking at it, so nothing here is taken on trust: each file carries
the SHA-256 of its content, and its name the hash of everything the content depends on. What is damaged
is thrown away and made anew; a folder that cannot be written only costs time.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from sam_edge.errors import OutputError
from sam_edge.storage.files import os_errors_as_output_error, write_bytes

FOLDER_VARIABLE = "SAM_EDGE_CACHE"
"""Environment variable that names another cache folder."""
MAX_BYTES = 4 << 30
"""What one engine's folder may hold; beyond it the files that were not used for longest go."""
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder(engine: str) -> Path:
    """Where an engine keeps what it compiled: `engine` in `$SAM_EDGE_CACHE`, or in `~/.cache/sam_edge`."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sam_edge"
    return base.expanduser() / engine


class BlobCache:
    """Byte strings by key, in one folder, made for its owner alone: whoever writes there decides what runs."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes

    def path(self, key: str) -> Path:
        """Where the blob of a key lies; the key may be any text."""
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.blob"

    def read(self, key: str) -> bytes | None:
        """The blob, or None if it is not there or damaged; a damaged one is removed."""
        path = self.path(key)
        try:
            data = path.read_bytes()
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
            files = sorted((path.stat().st_mtime_ns, path) for path in self.folder.glob("*.blob"))
            excess = sum(path.stat().st_size for _, path in files) - self._max_bytes
            for _, path in files:
                if excess <= 0:
                    return
                excess -= path.stat().st_size
                path.unlink()
