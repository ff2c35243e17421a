"""Model folders of strangers: whatever a manifest says under a valid seal, it is refused or it opens."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.bundle.folder import ASSETS, MANIFEST, MAX_MANIFEST_BYTES, find_bundle, read_manifest
from sam_edge.bundle.manifest import seal_of
from sam_edge.bundle.reading import parse
from sam_edge.bundle.shapes import graph_shapes
from sam_edge.errors import BundleError, FidelityError
from sam_edge.loading import load
from tests.disc_model import disc_bundle

NANO: dict[str, Any] = json.loads((ASSETS / "nano" / MANIFEST).read_text())
INF = float("inf")
ABSURD: list[Any] = [
    None, True, 0, -1, 1, 512, 10**9, 10**400, 1e300, 0.5, INF, float("nan"), "", "512", "..", "a/b", "\ud800",
    "\n", "x" * 5000, [], {}, [1, 2], {"": 0}, "encoder", "decoder.onnx",
]  # fmt: skip


def sealed(document: dict[str, Any]) -> bytes:
    plain = {name: value for name, value in document.items() if name != "manifest_sha256"}
    return json.dumps(plain | {"manifest_sha256": seal_of(plain)}).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The shipped manifest with another value at a path; a callable makes it out of the old one."""
    document = copy.deepcopy(NANO)
    *parents, last = path
    item: Any = document
    for key in parents:
        item = item[key]
    item[last] = value(item[last]) if callable(value) else value
    return document


def folder_of(document: dict[str, Any], folder: Path) -> Path:
    """The shipped model with another manifest."""
    for file in (ASSETS / "nano").iterdir():
        (folder / file.name).unlink(missing_ok=True)
        (folder / file.name).symlink_to(file)
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_bytes(sealed(document))
    return folder


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The shipped manifest with one to three entries changed, removed or added."""
    document = copy.deepcopy(NANO)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(document) if place]))
        *parents, last = path
        item: Any = document
        for key in parents:
            item = item[key]
        junk = st.sampled_from(ABSURD) | st.integers() | st.floats() | st.text(max_size=8)
        match draw(st.sampled_from(["change", "remove", "add", "swap"])):
            case "change":
                item[last] = copy.deepcopy(draw(junk))
            case "remove":
                del item[last]
            case "add" if isinstance(item, dict):
                item[draw(st.text(max_size=8))] = copy.deepcopy(draw(junk))
            case "swap":
                other = draw(st.sampled_from(places(document)))
                source: Any = document
                for key in other:
                    source = source[key]
                item[last] = copy.deepcopy(source)
            case _:
                item.append(copy.deepcopy(draw(junk)))
    return document


@settings(max_examples=300)
@given(mutated())
def test_any_manifest_under_a_valid_seal_is_refused_or_can_be_used(document: dict[str, Any]) -> None:
    if document.get("format") != NANO["format"]:
        return
    try:
        manifest = parse(sealed(document), "manifest.json")
        shapes = [graph_shapes(manifest, name, None) for name in manifest.graphs]
    except BundleError:
        return
    assert len(shapes) == len(manifest.graphs)
    assert manifest.input_size.view((640, 480)).input_wh[0] <= 4096
    assert len(manifest.decoders) + 1 in (len(manifest.graphs), len(manifest.graphs) - 1)
    assert manifest.model_id
    assert all(manifest.graph_of(graph.file) for graph in manifest.graphs.values())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(mutated())
def test_any_folder_under_a_valid_seal_is_refused_or_loads(tmp_path: Path, document: dict[str, Any]) -> None:
    # A manifest may say of its engine that it failed.
    with suppress(BundleError, FidelityError):
        load(folder_of(document, tmp_path), runtime="onnxruntime:cpu", threads=1).close()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("input_size", "multiple"), 0),
        (("input_size", "multiple"), 48),
        (("input_size", "long_side"), "512"),
        (("input_size", "long_side"), 10**9),
        (("input_size", "long_side"), -512),
        (("input_size", "long_side"), True),
        (("input_size", "fixed_wh"), [512, 0]),
        (("input_size", "encoder_stride"), 3),
        (("input_size", "square"), 1),
        (("preprocess", "std"), [0, 1, 1]),
        (("preprocess", "mean"), [float("nan"), 0, 0]),
        (("preprocess", "std"), [INF, 1, 1]),
        (("preprocess", "resize"), "nearest"),
        (("graphs",), {}),
        (("graphs", "encoder", "role"), "decoder"),
        (("graphs", "encoder", "role"), ["encoder"]),
        (("graphs", "decoder", "inputs"), []),
        (("graphs", "decoder", "file"), "../decoder.onnx"),
        (("graphs", "encoder", "outputs", 0, "shape"), [1, -96]),
        (("graphs", "encoder", "outputs", 0, "dtype"), "object"),
        (("files",), lambda files: files | {"/etc/passwd": "0" * 64}),
        (("files",), lambda files: files | {"..": "0" * 64}),
        (("files", "encoder.onnx"), 7),
        (("fidelity", "onnxruntime:cpu-fp32", "passed"), "yes"),
        (("fidelity", "onnxruntime:cpu-fp32", "masks"), 10**400),
        (("tools",), []),
    ],
)
def test_absurd_values_are_named(path: tuple[Any, ...], value: Any) -> None:
    named = [str(key) for key in path if isinstance(key, str)]
    with pytest.raises(BundleError) as caught:
        parse(sealed(changed(path, value)), "manifest.json")
    assert caught.value.path == "manifest.json"
    assert caught.value.hint
    assert named[0] in caught.value.what
    assert "\n" not in str(caught.value)


def test_what_a_later_version_adds_is_left_alone() -> None:
    assert parse(sealed(NANO | {"colour": "blue"}), "manifest.json") == parse(sealed(NANO), "manifest.json")


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize("nest", ["[", '{"a":'])
def test_deep_nesting_is_refused(depth: int, nest: str) -> None:
    closing = "]" if nest == "[" else "1}"
    for data in (nest * depth, nest * depth + closing * depth, f'{{"format": 2, "x": {nest * depth}'):
        with pytest.raises(BundleError):
            parse(data.encode(), "manifest.json")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


@pytest.mark.parametrize("name", [MANIFEST, "encoder.onnx"])
@pytest.mark.parametrize("make", [pipe, listening, Path.mkdir])
def test_only_regular_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], None]
) -> None:
    folder = disc_bundle(tmp_path).path
    monkeypatch.chdir(folder)  # the name of a socket may not be long
    (folder / name).unlink()
    make(Path(name))
    with pytest.raises(BundleError) as caught:
        find_bundle(folder)
    assert caught.value.path == str(folder / name)


def test_a_manifest_has_a_size_limit(tmp_path: Path) -> None:
    path = disc_bundle(tmp_path).path / MANIFEST
    with path.open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES)
    with pytest.raises(BundleError, match="not JSON"):
        read_manifest(path)
    with path.open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match="larger than 16 MB"):
        read_manifest(path)
