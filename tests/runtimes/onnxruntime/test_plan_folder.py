"""The folder of TensorRT plans that onnxruntime keeps: of one user alone, and shared by several processes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.runtimes.onnxruntime import tensorrt_plans as plans
from sam_edge.runtimes.onnxruntime.tensorrt_plans import KeptPlans
from sam_edge.storage.files import sha256

SHAPES = {"image": (1, 3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "graph-key"


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def build(folder: Path | None) -> bool:
    """Whether a plan had to be built, as onnxruntime would."""
    if folder is not None and (folder / "graph.engine").exists():
        return False
    if folder is not None:
        (folder / "graph.engine").write_bytes(b"plan")
    return True


def seal(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def test_a_run_keeps_its_answer_when_another_process_removes_the_plans(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptPlans(folder)
    kept.open(build)
    listed = KeptPlans._files

    def remove(self: KeptPlans) -> list[Path]:
        files: list[Path] = listed(self)
        for file in files:
            file.unlink()
        return files

    monkeypatch.setattr(KeptPlans, "_files", remove)
    kept.after_run(SHAPES)
    monkeypatch.undo()
    assert json.loads(seal(folder).read_bytes()) == {}
    assert KeptPlans(folder).open(build)


def test_a_run_keeps_its_answer_when_the_folder_cannot_be_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeptPlans(folder)
    kept.open(build)

    def refuse(self: KeptPlans) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(KeptPlans, "_files", refuse)
    for _ in range(2):
        kept.after_run(SHAPES)
    (record,) = caplog.records
    assert "at the next start" in record.message


def test_a_seal_that_no_parser_takes_is_none(folder: Path) -> None:
    KeptPlans(folder).open(build)
    seal(folder).write_bytes(b"[" * 100_000)
    assert KeptPlans(folder).open(build)
    assert not KeptPlans(folder).open(build)


@pytest.mark.parametrize("part", ["folder", "plan", "seal"])
def test_plans_that_other_users_could_write_are_built_anew(
    folder: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    KeptPlans(folder).open(build)
    path = {"folder": folder, "plan": folder / "graph.engine", "seal": seal(folder)}[part]
    path.chmod(0o777)
    assert KeptPlans(folder).open(build)
    assert "not what onnxruntime left there" in caplog.text
    assert not path.stat().st_mode & 0o022
    assert not KeptPlans(folder).open(build)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_plans_of_another_user_are_not_taken(folder: Path) -> None:
    KeptPlans(folder).open(build)
    os.chown(folder / "graph.engine", 12345, -1)
    assert KeptPlans(folder).open(build)


def test_nothing_is_kept_or_sealed_where_other_users_can_write(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)
    (folder / "graph.engine").write_bytes(b"theirs")
    seal(folder).write_text(json.dumps({"graph.engine": sha256(folder / "graph.engine")}))
    before = seal(folder).read_bytes()
    (folder / "other.engine").write_bytes(b"theirs too")
    given: list[Path | None] = []
    kept = KeptPlans(folder)
    kept.open(given.append)
    assert given == [None]
    assert "at every start" in caplog.text
    assert "can be written by other users" in caplog.text
    assert "SAM_EDGE_CACHE" in caplog.text
    kept.after_run(SHAPES)
    assert seal(folder).read_bytes() == before


def test_plans_are_kept_whatever_the_umask(folder: Path, no_umask: None) -> None:
    KeptPlans(folder).open(build)
    assert not KeptPlans(folder).open(build)


def test_half_a_plan_is_not_sealed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptPlans(folder)
    kept.open(lambda folder: None)
    plan = folder / "graph.engine"
    plan.write_bytes(b"half a ")

    def hash_and_write(path: Path) -> str:
        """Another process ends its plan when it has been read."""
        found = sha256(path)
        if path.read_bytes() == b"half a ":
            path.write_bytes(b"half a plan, whole")
        return found

    monkeypatch.setattr(plans, "sha256", hash_and_write)
    kept.after_run(SHAPES)
    assert json.loads(seal(folder).read_bytes()) == {"graph.engine": sha256(plan)}


def test_a_plan_that_could_not_be_sealed_is_sealed_by_a_later_run(folder: Path) -> None:
    kept = KeptPlans(folder)
    kept.open(lambda folder: None)
    build(folder)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept.after_run(SHAPES)
        assert not seal(folder).exists()
    kept.after_run(SHAPES)
    assert not KeptPlans(folder).open(build)
