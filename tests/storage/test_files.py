"""A write is seen whole or not at all."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from sam_edge.errors import InputError, OutputError
from sam_edge.storage.files import atomic_path, check_outputs, locked, sha256, write_bytes


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


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_the_mode_of_a_replaced_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(b"old")
    (tmp_path / "private").chmod(0o600)
    write_bytes(tmp_path / "private", b"new")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="no regular file"):
        write_bytes(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()


def test_long_names_are_fine_and_too_long_ones_named(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("a" * 250), b"new")
    with pytest.raises(OutputError, match="File name too long"):
        write_bytes(tmp_path / ("a" * 256), b"new")


def test_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a folder"):
        write_bytes(tmp_path, b"")


def test_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9999
    (tmp_path / "data").write_bytes(data)
    assert sha256(tmp_path / "data") == hashlib.sha256(data).hexdigest()


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "lock"
    waits, held = threading.Event(), threading.Event()

    def second() -> None:
        with locked(lock, waits.set):
            held.set()

    thread = threading.Thread(target=second)
    with locked(lock, None):
        with pytest.raises(BlockingIOError), locked(lock, None):
            pass
        thread.start()
        assert waits.wait(30)
        assert not held.is_set()
    thread.join(30)
    assert held.is_set()
    assert lock.parent.stat().st_mode & 0o77 == 0
    with pytest.raises(OutputError, match="cannot write"), locked(lock / "file", None):
        pass


def test_outputs_must_differ_from_each_other_and_the_input() -> None:
    with pytest.raises(InputError, match="is an input"):
        check_outputs(["b.mp4", "a.mp4"], ["./a.mp4"])
    for outputs in (["b.mp4", None, "./b.mp4"], ["-", "-"]):
        with pytest.raises(InputError, match="given twice"):
            check_outputs(["a.mp4"], outputs)


def test_outputs_are_tried_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    check_outputs([None, "a.mp4"], [tmp_path / "out.mp4", "-"])
    with pytest.raises(OutputError, match="cannot write"):
        check_outputs(["a.mp4"], [tmp_path / "file" / "out.mp4"])
    with pytest.raises(OutputError, match="the name is empty"):
        check_outputs(["a.mp4"], [""])
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_trying_an_output_leaves_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    check_outputs([], [tmp_path / "old" / "new" / "deep" / "a.png", tmp_path / "old" / "b.png"])
    with pytest.raises(OutputError, match="File name too long"):
        check_outputs([], [tmp_path / "other" / ("a" * 256) / "b"])
    assert [file.name for file in tmp_path.iterdir()] == ["old"]
    assert list((tmp_path / "old").iterdir()) == []
