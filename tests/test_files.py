"""A write is seen whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sam_edge.errors import InputError, OutputError
from sam_edge.files import atomic_path, check_outputs, sha256, write_bytes


def test_replaces_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.bin"
    write_bytes(target, b"old")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file.bin"
    write_bytes(target, b"old")

    def fail_midway() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail_midway()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        write_bytes(tmp_path, b"")


def test_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9999
    (tmp_path / "data").write_bytes(data)
    assert sha256(tmp_path / "data") == hashlib.sha256(data).hexdigest()


def test_outputs_must_differ_from_each_other_and_the_input() -> None:
    with pytest.raises(InputError, match="is the input"):
        check_outputs("a.mp4", ["./a.mp4"])
    with pytest.raises(InputError, match="given twice"):
        check_outputs("a.mp4", ["b.mp4", "-", None, "-", "./b.mp4"])
