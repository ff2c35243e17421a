"""`sam-edge verify` works beside the model: weights in their own files, damage, and being inside the folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from sam_edge.bundle.folder import MANIFEST, Bundle, find_bundle
from sam_edge.bundle.manifest import EngineSpec, dump
from sam_edge.cli import main
from sam_edge.errors import BundleError
from sam_edge.exporters.engines import find_halves, with_engine
from sam_edge.exporters.half.precision import save
from sam_edge.exporters.staging import commit, staging_folder
from sam_edge.exporters.verify import store
from sam_edge.fidelity.images import textured_image
from sam_edge.imaging.image import write_image
from sam_edge.sessions.choice import backends
from sam_edge.storage.files import sha256
from tests.toy_model import toy_bundle, with_answers

HALF = EngineSpec("onnxruntime:cpu", "fp16")


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Bundle]:
    """A model whose folder is clean in the end."""
    yield toy_bundle(tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured_image((160, 120)))
    return tmp_path / "photos"


def sealed(bundle: Bundle) -> Bundle:
    """The bundle with the hashes of what lies in its folder."""
    files = {path.name: sha256(path) for path in bundle.path.iterdir() if path.name != MANIFEST}
    made = Bundle(bundle.path, replace(bundle.manifest, files=files))
    store(made)
    return made


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that exits with 2."""
    assert main(["verify", *arguments]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "reference"])
def test_weights_beside_the_graphs_are_found(toy: Bundle, photos: Path, runtime: str) -> None:
    pytest.importorskip(backends()[runtime].library)
    path = with_answers(toy).path / "decoder.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, size_threshold=500, location="decoder.onnx.data")
    sealed(toy)
    assert (toy.path / "decoder.onnx.data").is_file()
    arguments = ("--images", str(photos), "--limit", "1")
    assert main(["verify", str(toy.path), "--runtime", runtime, *arguments]) == 0


def test_the_workplace_has_files_of_its_own_names(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (toy.path / "decoder.onnx").read_bytes()
    with staging_folder(toy) as work:
        assert not any(path.is_symlink() for path in work.path.iterdir())
        save(onnx.load(toy.path / "encoder.onnx"), work.path / "decoder.onnx")
    assert (toy.path / "decoder.onnx").read_bytes() == before

    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    with staging_folder(toy) as work:
        assert (work.path / "decoder.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "was edited or damaged"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_damage_is_named_where_the_user_knows_it(
    toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str], damage: object, message: str
) -> None:
    assert callable(damage)
    damage(toy.path / "decoder.onnx")
    line = error(capsys, str(toy.path), "--images", str(photos), "--runtime", "onnxruntime")
    assert line.startswith(f"error: {toy.path / 'decoder.onnx'} {message}")


def test_a_graph_of_another_shape_is_named(
    toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toy.path / "decoder.onnx"
    model = onnx.load(path)
    model.graph.input[2].type.tensor_type.shape.dim[1].dim_value = 7
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 7
    onnx.save(model, path)
    sealed(toy)
    line = error(capsys, str(toy.path), "--images", str(photos), "--runtime", "onnxruntime")
    assert line.startswith(f"error: {path} is not the graph that {MANIFEST} describes: in onnxruntime:cpu fp32")
    assert "point_coords is (1, 7, 2) instead of (1, 6, 2): export the model again" in line


def test_what_was_made_comes_into_the_folder_that_stays(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    halved = find_halves(toy, [textured_image((160, 120))])
    made = with_engine(toy, HALF, halved.write(HALF, toy.path))
    stale = toy.path / "decoder.onnxruntime.fp16.onnx.data"
    stale.write_bytes(b"weights of before")
    files = {**made.manifest.files, stale.name: sha256(stale)}
    bundle = Bundle(toy.path, replace(made.manifest, files=files, fidelity={HALF.key: {"passed": 0.0}}))
    store(bundle)
    monkeypatch.chdir(toy.path)
    folder = toy.path.stat().st_ino
    raised = {name: frozenset(halved.order()[name]) for name in halved.islands}
    with staging_folder(Bundle(Path("."), bundle.manifest)) as work:
        repaired = with_engine(work, HALF, replace(halved, islands=raised).write(HALF, work.path))
        found = {HALF.key: {"passed": 1.0}}
        repaired = Bundle(repaired.path, replace(repaired.manifest, fidelity=found))
        taken = commit(Bundle(Path("."), bundle.manifest), repaired, [HALF])
        expected = (work.path / "decoder.onnxruntime.fp16.onnx").read_bytes()
    assert toy.path.stat().st_ino == folder
    assert find_bundle(".").manifest == taken.manifest
    assert taken.graph("decoder", HALF).read_bytes() == expected
    assert taken.manifest.fidelity == found
    assert not stale.exists()
    assert {path.name for path in toy.path.iterdir()} == {MANIFEST, *taken.manifest.files}


def test_a_reader_in_between_finds_a_sound_model(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    halved = find_halves(toy, [textured_image((160, 120))])
    bundle = with_engine(toy, HALF, halved.write(HALF, toy.path))
    store(bundle)

    def stop(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with staging_folder(bundle) as work:
        monkeypatch.setattr("shutil.copyfile", stop)
        with pytest.raises(KeyboardInterrupt):
            commit(bundle, work, [HALF])
    left = find_bundle(toy.path)
    assert not left.manifest.engines
    for name in left.manifest.graphs:
        left.graph(name)


def test_verify_works_inside_the_folder(
    toy: Bundle, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(with_answers(toy).path)
    assert main(["verify", ".", "--images", str(photos), "--runtime", "onnxruntime"]) == 0
    assert find_bundle(".").manifest.fidelity["onnxruntime:cpu-fp32"]["passed"] == 1
    (toy.path / MANIFEST).write_bytes(dump(replace(find_bundle(".").manifest, files={})))
    with pytest.raises(BundleError, match="is not a file of the model"):
        find_bundle(".").graph("encoder")
