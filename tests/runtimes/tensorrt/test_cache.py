"""A plan is used only where it was built for, whole, and only if nobody else could have written it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import BundleError, OutputError, PlanError
from sam_edge.runtimes.tensorrt import cache as module
from sam_edge.runtimes.tensorrt.cache import PlanCache, Seal, State, graph_sha256

FACTS: dict[str, Any] = {"tensorrt": "10.3.0", "driver": "540.4.0", "device_name": "Orin", "l4t": "36.4.3"}
PLAN = b"machine code"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "encoder.onnx"
    path.write_bytes(b"a graph")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "cache")


def write(cache: PlanCache, graph: Path, state: State = "verified", **settings: Any) -> Path:
    entry = cache.entry(graph, FACTS, settings)
    cache.write(entry, PLAN, Seal({}, state, {"image": (1, 3, "height", "width")}, FACTS))
    return entry


def seal_path(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.json")


texts = st.text(max_size=20)


@given(
    st.builds(
        Seal,
        st.dictionaries(texts, texts, max_size=3),
        st.sampled_from(["verified", "unverified", "refused"]),
        st.dictionaries(texts, st.lists(st.integers(1, 9) | texts, max_size=4).map(tuple), max_size=3),
        st.dictionaries(texts, st.integers() | texts, max_size=3),
    )
)
def test_a_seal_survives_its_file(tmp_path_factory: pytest.TempPathFactory, seal: Seal) -> None:
    cache = PlanCache(tmp_path_factory.getbasetemp())
    cache.put_seal(cache.folder / "a.plan", seal)
    assert cache.seal(cache.folder / "a.plan") == seal


def test_a_written_plan_is_found_and_read(graph: Path, cache: PlanCache) -> None:
    entry = write(cache, graph)
    assert cache.verified(graph, FACTS) == entry
    assert entry.read_bytes() == PLAN
    assert cache.check(entry).shapes == {"image": (1, 3, "height", "width")}
    assert cache.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("fact", FACTS)
def test_a_plan_of_another_device_is_named_and_not_run(graph: Path, cache: PlanCache, fact: str) -> None:
    write(cache, graph)
    with pytest.raises(PlanError) as caught:
        cache.verified(graph, {**FACTS, fact: "another"})
    assert caught.value.path == str(graph)
    differs = f"built for {fact} {FACTS[fact]}, here another"
    assert differs in str(caught.value)
    assert caught.value.hint == f"run sam-edge build {graph.parent}"


def test_external_weights_are_part_of_the_graph(graph: Path, cache: PlanCache) -> None:
    hashes = {graph_sha256(graph)}
    for weights in (b"weights", b"others"):
        graph.with_name("encoder.onnx.data").write_bytes(weights)
        hashes.add(graph_sha256(graph))
    graph.write_bytes(b"another graph")
    assert len(hashes | {graph_sha256(graph)}) == 4
    with pytest.raises(BundleError, match=r"none\.onnx"):
        cache.verified(graph.with_name("none.onnx"), FACTS)


@pytest.mark.parametrize("state", ["unverified", "refused"])
def test_only_verified_plans_are_run(graph: Path, cache: PlanCache, state: State) -> None:
    write(cache, graph, state, workspace_mb=64)
    with pytest.raises(PlanError, match="PyTorch"):
        cache.verified(graph, FACTS)
    # One with other settings, which was compared, is run.
    entry = write(cache, graph)
    assert cache.verified(graph, FACTS) == entry


def test_of_several_plans_the_newest_is_taken(graph: Path, cache: PlanCache) -> None:
    written = [write(cache, graph, number=number) for number in range(3)]
    for age, entry in enumerate((written[1], written[0], written[2])):
        os.utime(seal_path(entry), (1000 - age, 1000 - age))
    assert cache.verified(graph, FACTS) == written[1]


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"[]", b'{"files": 1}', b"\xff", b"{}"])
def test_whatever_a_seal_holds_is_damage(graph: Path, cache: PlanCache, content: bytes) -> None:
    entry = write(cache, graph)
    seal_path(entry).write_bytes(content)
    with pytest.raises(PlanError, match="damaged"):
        cache.check(entry)
    assert not entry.exists()


def test_a_damaged_plan_is_removed(graph: Path, cache: PlanCache) -> None:
    entry = write(cache, graph)
    entry.write_bytes(PLAN[:-1])
    with pytest.raises(PlanError, match="damaged"):
        cache.check(entry)
    assert not entry.exists()
    assert not seal_path(entry).exists()


def test_damage_that_cannot_be_removed_is_not_used_either(
    graph: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = write(cache, graph)
    entry.write_bytes(b"{")

    def refuse(entry: Path) -> None:
        raise OutputError(f"cannot write {entry}")

    monkeypatch.setattr(cache, "discard", refuse)
    assert not cache.is_sound(entry)


def test_a_folder_is_sealed_with_all_its_files(graph: Path, cache: PlanCache) -> None:
    entry = cache.entry(graph, FACTS)
    cache.make_folder(entry)
    (entry / "part.engine").write_bytes(PLAN)
    with pytest.raises(PlanError):
        cache.check(entry)
    cache.reseal(entry)
    cache.check(entry)
    (entry / "other.engine").write_bytes(PLAN)
    with pytest.raises(PlanError, match="damaged"):
        cache.check(entry)
    assert not entry.exists()


@pytest.mark.parametrize("part", ["plan", "seal", "folder"])
def test_what_others_may_write_is_refused(graph: Path, cache: PlanCache, part: str) -> None:
    entry = write(cache, graph)
    {"plan": entry, "seal": seal_path(entry), "folder": cache.folder}[part].chmod(0o777)
    with pytest.raises(PlanError, match="other users"):
        cache.check(entry)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_belongs_to_another_user_is_refused(graph: Path, cache: PlanCache) -> None:
    entry = write(cache, graph)
    os.chown(entry, 12345, -1)
    assert not cache.is_sound(entry)


def test_a_write_that_breaks_off_leaves_nothing_to_load(
    graph: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = write(cache, graph)
    real = module.write_bytes
    monkeypatch.setattr(module, "write_bytes", lambda path, data: real(path, data) if path == entry else None)
    with pytest.raises(OutputError):
        write(cache, graph)
    assert cache.find(graph, FACTS) is None


def test_a_verdict_is_of_the_bytes_that_were_compared(graph: Path, cache: PlanCache) -> None:
    entry = write(cache, graph, "unverified")
    for state in ("verified", "refused"):
        cache.judge(entry, Seal({"other": "0"}, "unverified"), state)
        assert cache.check(entry).state == "unverified"
    cache.judge(entry, cache.seal(entry), "verified")
    assert cache.check(entry).state == "verified"
    cache.judge(entry, cache.seal(entry), "refused")
    assert not entry.exists()
    assert cache.seal(entry).state == "refused"
    cache.discard(entry)
    cache.judge(entry, Seal({}, "unverified"), "verified")
    assert cache.find(graph, FACTS) is None
