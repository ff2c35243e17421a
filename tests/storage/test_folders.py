"""Temporary folders: gone after use, and after their process was killed with the next use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_edge.storage.folders import temporary_folder

PREFIX = ".model-export-"
CHILD = """
import sys
from pathlib import Path
from sam_edge.storage.folders import temporary_folder
with temporary_folder(Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "half.onnx").write_bytes(b"half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of its work."""
    command = [sys.executable, "-c", CHILD, str(tmp_path), PREFIX]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_it_goes_with_the_block(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, PREFIX) as folder:
        assert list(folder.iterdir()) == []
        (folder / "a").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_use(
    tmp_path: Path, child: subprocess.Popen[str]
) -> None:
    (left,) = tmp_path.iterdir()
    with temporary_folder(tmp_path, PREFIX):
        assert next(left.rglob("half.onnx")).is_file(), "its process is alive"
    child.kill()
    child.wait()
    assert left.is_dir()
    with temporary_folder(tmp_path, ".other-export-"):
        assert left.is_dir()
    with temporary_folder(tmp_path, PREFIX):
        assert not left.exists()


def test_folders_of_others_stay(tmp_path: Path) -> None:
    theirs = tmp_path / f"{PREFIX}holidays"
    theirs.mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    with temporary_folder(tmp_path, PREFIX):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{PREFIX}file", f"{PREFIX}holidays"]
