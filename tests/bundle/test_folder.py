"""Model folders: written whole, read only when nothing about them was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.bundle.folder import check_target, find_bundle, write_bundle
from sam_edge.bundle.manifest import dump
from sam_edge.bundle.reading import parse
from sam_edge.errors import BundleError, OutputError
from tests.disc_model import disc_bundle, disc_manifest


def test_manifest_round_trip() -> None:
    manifest = disc_manifest()
    assert parse(dump(manifest), "manifest.json") == manifest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_of_a_manifest_is_noticed(data: st.DataObject) -> None:
    whole = dump(disc_manifest())
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    edited = whole[:at] + bytes([byte]) + whole[at + 1 :]
    try:
        same = parse(edited, "manifest.json") == disc_manifest()
    except BundleError:
        return
    # White space between entries may change: it says nothing.
    assert same
    assert json.loads(edited) == json.loads(whole)


@given(st.integers(0, 5000))
def test_a_truncated_manifest_is_noticed(length: int) -> None:
    whole = dump(disc_manifest())
    if length < len(whole.rstrip()):
        with pytest.raises(BundleError, match=r"manifest\.json"):
            parse(whole[:length], "manifest.json")


def test_another_format_says_export_again() -> None:
    document = json.loads(dump(disc_manifest())) | {"format": 99}
    with pytest.raises(BundleError, match="format 99"):
        parse(json.dumps(document).encode(), "manifest.json")


def test_folder_is_found_and_its_files_are_checked(tmp_path: Path) -> None:
    written = disc_bundle(tmp_path)
    found = find_bundle(tmp_path / "disc")
    assert found.manifest == written.manifest
    assert found.graph("encoder").read_bytes() == b"a graph called encoder.onnx"


def test_truncated_file(tmp_path: Path) -> None:
    bundle = disc_bundle(tmp_path)
    graph = bundle.path / "encoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"encoder\.onnx was edited or damaged"):
        bundle.graph("encoder")


def test_edited_external_weights(tmp_path: Path) -> None:
    manifest = disc_manifest()
    contents = tmp_path / "contents"
    contents.mkdir()
    for name in ("encoder.onnx", "encoder.onnx.data", "decoder.onnx"):
        (contents / name).write_bytes(b"content of " + name.encode())
    bundle = write_bundle(tmp_path / "large", manifest, contents)
    assert bundle.graph("encoder").is_file()
    (bundle.path / "encoder.onnx.data").write_bytes(b"edited")
    with pytest.raises(BundleError, match=r"encoder\.onnx\.data was edited or damaged"):
        bundle.graph("encoder")
    # The weights are not a part of this one.
    assert bundle.graph("decoder").is_file()


def test_missing_file(tmp_path: Path) -> None:
    bundle = disc_bundle(tmp_path)
    (bundle.path / "decoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"decoder\.onnx is missing"):
        bundle.graph("decoder")
    # Already when the folder is opened: this graph may be needed only after hours.
    with pytest.raises(BundleError, match=r"decoder\.onnx is missing"):
        find_bundle(bundle.path)


def test_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    bundle = disc_bundle(tmp_path)
    (tmp_path / "secret").write_bytes(b"")
    with pytest.raises(BundleError, match="is not a file of the model"):
        bundle.file("../secret")


def test_no_model_lists_the_shipped(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nor a shipped model"):
        find_bundle(tmp_path)


def test_an_older_model_is_replaced(tmp_path: Path) -> None:
    disc_bundle(tmp_path)
    (tmp_path / "disc" / "stale.onnx").write_bytes(b"")
    disc_bundle(tmp_path / "again")
    contents = tmp_path / "new"
    contents.mkdir()
    (contents / "encoder.onnx").write_bytes(b"new")
    write_bundle(tmp_path / "disc", disc_manifest(), contents)
    assert sorted(file.name for file in (tmp_path / "disc").iterdir()) == ["encoder.onnx", "manifest.json"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"precious")
    (tmp_path / "contents").mkdir()
    with pytest.raises(OutputError, match="holds files that are not a model"):
        write_bundle(tmp_path / "photos", disc_manifest(), tmp_path / "contents")
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"precious"


def test_interrupted_replacement_keeps_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = disc_bundle(tmp_path)
    contents = tmp_path / "new"
    contents.mkdir()
    (contents / "encoder.onnx").write_bytes(b"new")
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "disc", disc_manifest(), contents)
    assert find_bundle(tmp_path / "disc").manifest == old.manifest
    assert find_bundle(tmp_path / "disc").graph("decoder").is_file()


@pytest.mark.parametrize("name", [".", "", "../disc"])
def test_the_folder_one_is_in_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(disc_bundle(tmp_path).path)
    with pytest.raises(OutputError, match=r"is the folder you are in, .* cd \.\. and name it"):
        check_target(name)
