"""A plan is loaded only where it was built for, whole, and by whom it belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import BundleError, OutputError, PlanError
from sam_edge.runtimes.tensorrt import plan_cache as plans
from sam_edge.runtimes.tensorrt.plan_cache import (
    PlanDevice,
    PlanKey,
    discard_plan,
    dump,
    find_plan,
    graph_sha256,
    key_path,
    mismatch,
    parse,
    plan_folder,
    read_plan,
    settings_sha256,
    this_exporter,
    write_plan,
)
from sam_edge.storage.files import write_bytes

DEVICE = PlanDevice("10.3.0", "540.4.0", "12.6", "Orin", "8.7", 8, "36.4.3")
SETTINGS = {"workspace_mb": 512, "level": 3}
PLAN = b"machine code"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "encoder.onnx"
    path.write_bytes(b"a graph")
    return path


def key_of(graph: Path, device: PlanDevice = DEVICE, **settings: Any) -> PlanKey:
    return PlanKey(
        graph_sha256(graph),
        settings_sha256(SETTINGS | settings),
        this_exporter(),
        device,
        hashlib.sha256(PLAN).hexdigest(),
        {"image": (1, 3, "height", "width")},
    )


texts = st.text(max_size=20)


@given(
    st.builds(
        PlanKey,
        texts,
        texts,
        texts,
        st.builds(PlanDevice, texts, texts, texts, texts, texts, st.integers(0, 200), texts),
        texts,
        st.dictionaries(texts, st.lists(st.integers(1, 9) | texts, max_size=4).map(tuple), max_size=3),
        st.booleans(),
    )
)
def test_a_key_survives_its_file(key: PlanKey) -> None:
    again = parse(dump(key), "key.json")
    assert again == key
    assert again.shapes == key.shapes


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"device": 3}', b'{"device": {}, "shapes": {}}'])
def test_a_damaged_key_is_named(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"key\.json is damaged .*sam-edge build"):
        parse(data, "key.json")


def test_a_key_with_a_wrong_type_is_damaged(graph: Path) -> None:
    with pytest.raises(BundleError, match="sm_count"):
        parse(dump(key_of(graph)).replace(b'"sm_count": 8', b'"sm_count": "8"'), "key.json")


def test_a_written_plan_is_found_and_read(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path / "cache")
    assert find_plan(graph, DEVICE, SETTINGS, tmp_path / "cache") == written
    assert read_plan(written) == (PLAN, key_of(graph))
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"tensorrt": "10.7.0"}, "tensorrt 10.3.0, here is 10.7.0"),
        ({"driver": "550.1"}, "driver 540.4.0, here is 550.1"),
        ({"cuda": "13.0"}, "cuda 12.6, here is 13.0"),
        ({"device_name": "Thor"}, "device name Orin, here is Thor"),
        ({"compute_capability": "11.0"}, "compute capability 8.7, here is 11.0"),
        ({"sm_count": 16}, "sm count 8, here is 16"),
        ({"l4t": ""}, "l4t 36.4.3, here is none"),
    ],
)
def test_another_device_is_refused_with_the_reason(
    graph: Path, tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    write_plan(graph, PLAN, key_of(graph), tmp_path)
    with pytest.raises(BundleError, match=f"encoder.onnx does not fit: .*{word}: run sam-edge build .*model"):
        find_plan(graph, replace(DEVICE, **change), SETTINGS, tmp_path)


def test_another_version_of_ours_is_refused(graph: Path, tmp_path: Path) -> None:
    write_plan(graph, PLAN, replace(key_of(graph), exporter="0.0.1"), tmp_path)
    with pytest.raises(BundleError, match=r"sam-edge 0\.0\.1, here is"):
        find_plan(graph, DEVICE, SETTINGS, tmp_path)


def test_other_settings_are_refused_only_where_some_are_wanted(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    assert find_plan(graph, DEVICE, None, tmp_path) == written
    with pytest.raises(BundleError, match="other settings"):
        find_plan(graph, DEVICE, SETTINGS | {"level": 5}, tmp_path)


def test_a_changed_graph_has_no_plan(graph: Path, tmp_path: Path) -> None:
    write_plan(graph, PLAN, key_of(graph), tmp_path)
    key = key_of(graph)
    graph.write_bytes(b"another graph")
    assert mismatch(key, graph_sha256(graph), DEVICE) == "the graph has changed since it was built"
    with pytest.raises(BundleError, match="no TensorRT plan for this device yet: run sam-edge build"):
        find_plan(graph, DEVICE, SETTINGS, tmp_path)


def test_external_weights_are_part_of_the_graph(graph: Path) -> None:
    bare = graph_sha256(graph)
    weights = graph.with_name("encoder.onnx.data")
    weights.write_bytes(b"weights")
    with_weights = graph_sha256(graph)
    weights.write_bytes(b"others")
    assert len({bare, with_weights, graph_sha256(graph)}) == 3


def test_plans_of_two_devices_lie_side_by_side(graph: Path, tmp_path: Path) -> None:
    other = replace(DEVICE, device_name="Thor")
    paths = {write_plan(graph, PLAN, key_of(graph, device), tmp_path) for device in (DEVICE, other)}
    assert {find_plan(graph, device, SETTINGS, tmp_path) for device in (DEVICE, other)} == paths
    assert len(paths) == 2


def test_a_damaged_plan_is_removed(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    written.write_bytes(PLAN[:-1])
    with pytest.raises(BundleError, match="damaged and has been removed"):
        read_plan(written)
    assert not written.exists()
    assert not key_path(written).exists()


def test_a_damaged_key_is_removed_with_its_plan(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    key_path(written).write_bytes(b"{")
    with pytest.raises(BundleError, match="json was damaged and has been removed: run sam-edge build"):
        find_plan(graph, DEVICE, SETTINGS, tmp_path)
    assert not written.exists()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b'{"device": 1}', b"\xff"])
def test_whatever_a_key_holds_is_damage(graph: Path, tmp_path: Path, content: bytes) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    key_path(written).write_bytes(content)
    with pytest.raises(PlanError, match="damaged"):
        find_plan(graph, DEVICE, SETTINGS, tmp_path)


def test_a_key_that_cannot_be_read_is_no_traceback(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    key_path(written).unlink()
    key_path(written).mkdir()
    with pytest.raises(PlanError, match=r"cannot read .*json: Is a directory: run sam-edge build"):
        find_plan(graph, DEVICE, SETTINGS, tmp_path)


@pytest.mark.parametrize("name", [key_path, Path])
def test_damage_that_cannot_be_removed_is_not_loaded_either(
    name: Callable[[Path], Path], graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    name(written).write_bytes(b"{")

    def refuse(path: Path) -> None:
        raise OutputError(f"cannot write {path}")

    monkeypatch.setattr(plans, "discard_plan", refuse)
    with pytest.raises(PlanError, match="is damaged: run sam-edge build"):
        read_plan(written)


def test_a_plan_that_is_replaced_while_it_is_read_stays(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    newer = b"newer code"
    key = replace(key_of(graph), plan_sha256=hashlib.sha256(newer).hexdigest())
    read = Path.read_bytes

    def replaced(path: Path) -> bytes:
        if path == written and read(path) == PLAN:
            write_plan(graph, newer, key, tmp_path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", replaced)
    assert read_plan(written) == (newer, key)
    assert written.exists()


def test_a_write_that_breaks_off_leaves_nothing_to_load(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)

    def full(path: Path, data: bytes) -> None:
        if path == written:
            write_bytes(path, data)

    monkeypatch.setattr(plans, "write_bytes", full)
    write_plan(graph, PLAN, key_of(graph), tmp_path)
    with pytest.raises(PlanError, match="no TensorRT plan"):
        find_plan(graph, DEVICE, SETTINGS, tmp_path)


def test_of_several_plans_the_newest_is_taken(graph: Path, tmp_path: Path) -> None:
    written = [
        write_plan(graph, PLAN, replace(key_of(graph), settings_sha256=str(number) * 64), tmp_path)
        for number in range(3)
    ]
    for age, path in enumerate((written[1], written[0], written[2])):
        os.utime(key_path(path), (1000 - age, 1000 - age))
    assert find_plan(graph, DEVICE, None, tmp_path) == written[1]


def test_a_plan_that_others_may_write_is_refused(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    written.chmod(0o666)
    with pytest.raises(BundleError, match="can be written by other users"):
        read_plan(written)


def test_a_plan_without_key_is_none(graph: Path, tmp_path: Path) -> None:
    written = write_plan(graph, PLAN, key_of(graph), tmp_path)
    key_path(written).unlink()
    with pytest.raises(BundleError, match="run sam-edge build"):
        read_plan(written)
    discard_plan(written)
    discard_plan(written)


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot read .*none\.onnx"):
        find_plan(tmp_path / "none.onnx", DEVICE, None, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        write_plan(graph, PLAN, key_of(graph), tmp_path / "file" / "cache")


def test_the_plan_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    assert plan_folder() == tmp_path / "tensorrt"
    monkeypatch.delenv("SAM_EDGE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert plan_folder() == Path("~/.cache/sam_edge/tensorrt").expanduser()
