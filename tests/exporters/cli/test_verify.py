"""`sam-edge verify` from the outside, and what a folder's verdicts do when it is opened."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.cli import main
from sam_edge.cli.engine_line import engine_line
from sam_edge.errors import FidelityError, InputError
from sam_edge.exporters import engines
from sam_edge.exporters.engines import Fp16Model, find_halves, with_engine
from sam_edge.exporters.verify import store
from sam_edge.fidelity.images import textured_image
from sam_edge.imaging.image import write_image
from sam_edge.loading import load
from sam_edge.sessions.choice import backends, find_runtime
from sam_edge.sessions.session import SessionOptions, Wrapper
from sam_edge.tensors import Arrays
from tests.fixtures.tables import backend, use_backends
from tests.toy_model import toy_bundle, with_answers

HALF = EngineSpec("onnxruntime:cpu", "fp16")


class Rounding(Wrapper):
    """onnxruntime as hardware with float16 would be: it opens the rounding twin of every fp16 graph."""

    twins = Path()
    """Where those are that no manifest knows."""

    def __init__(self, graph: Path, options: SessionOptions = SessionOptions()) -> None:
        name = graph.name.replace(".rounding.fp16.", ".emulation.fp16.")
        twin = graph.with_name(name)
        twin = twin if twin.exists() else self.twins / name
        super().__init__(find_runtime("onnxruntime:cpu")(twin, options))


class Shifting(Rounding):
    """An engine whose masks lie half a pixel beside the object."""

    def run(self, feeds: Arrays) -> Arrays:
        answers = dict(super().run(feeds))
        if "logits" in answers:
            logits = np.asarray(answers["logits"])
            before = np.concatenate([logits[..., :1], logits[..., :-1]], -1)
            answers["logits"] = (7 * logits + before) / 8
        return answers


class Bending(Wrapper):
    """onnxruntime, but for its Sqrt: a kernel that is wrong on one device."""

    def __init__(self, graph: Path, options: SessionOptions = SessionOptions()) -> None:
        model = onnx.load(graph)
        for node in model.graph.node:
            if node.op_type == "Sqrt":
                node.op_type = "Neg"
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(model, Path(folder) / graph.name)
            super().__init__(find_runtime("onnxruntime:cpu")(Path(folder) / graph.name, options))


@pytest.fixture(autouse=True)
def odd_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runtimes more, and onnxruntime as the best."""
    best = backends()["onnxruntime"]
    others = (one for name, one in backends().items() if name != "onnxruntime")
    use_backends(
        monkeypatch,
        replace(best, score=lambda machine: 1000),
        *others,
        backend("rounding", "A", "B", loader=Rounding, on_request=True),
        backend("bending", loader=Bending, on_request=True),
        backend("shifting", loader=Shifting, on_request=True),
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured_image((160, 120)))
    write_image(tmp_path / "photos" / "b.png", textured_image((120, 160)))
    return tmp_path / "photos"


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return with_answers(toy_bundle(tmp_path))


def with_halves(bundle: Bundle, halved: Fp16Model, engine: EngineSpec) -> Bundle:
    """The bundle with fp16 graphs, stored."""
    made: Bundle = with_engine(bundle, engine, halved.write(engine, bundle.path))
    store(made)
    return made


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Exit code, and the engines of the JSON by name."""
    code = main(["verify", *arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    return code, {f"{item['runtime']} {item['precision']}": item for item in document["engines"]}


def test_good_engines_pass_and_the_folder_knows(
    toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halved = find_halves(toy, [textured_image((160, 120))])
    with_halves(toy, halved, HALF)
    arguments = (str(toy.path), "--images", str(photos))
    assert main(["verify", *arguments]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["engine", "mask", "IoU"]
    assert [line.split()[-2:] for line in table[1:]] == [["PyTorch", "pass"], ["ONNX", "pass"]]
    manifest = find_bundle(toy.path).manifest
    assert set(manifest.fidelity) == {"onnxruntime:cpu-fp32", "onnxruntime:cpu-fp16"}
    assert manifest.fidelity["onnxruntime:cpu-fp16"]["images"] == 2
    assert manifest.model_id == toy.manifest.model_id
    assert engine_line(manifest, HALF).startswith("toy on onnxruntime:cpu fp16: mask IoU 0.99")
    with load(toy.path) as segmenter:
        assert segmenter.engine == HALF


def test_a_wrong_engine_fails_is_stored_and_not_loaded(
    toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (str(toy.path), "--images", str(photos), "--runtime", "shifting")
    code, found = answer(capsys, *arguments, "--dry-run")
    assert code == 1
    assert find_bundle(toy.path).manifest.fidelity == {}
    load(toy.path, runtime="shifting").close()
    code, found = answer(capsys, *arguments, "--runtime", "onnxruntime")
    assert code == 1
    assert found["onnxruntime:cpu fp32"]["passed"]
    assert not found["shifting fp32"]["passed"]
    assert "shift_px" in str(found["shifting fp32"]["violations"])
    assert find_bundle(toy.path).manifest.fidelity["shifting-fp32"]["passed"] == 0
    with pytest.raises(FidelityError, match="shifting fp32 failed sam-edge verify"):
        load(toy.path, runtime="shifting")
    assert main(["verify", *arguments]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_failing_half_is_mended_and_says_what_was_raised(
    toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EngineSpec("rounding:A", "fp16")
    naive = Fp16Model(
        find_halves(toy, [textured_image((160, 120))]).sources,
        {name: frozenset() for name in toy.manifest.graphs},
    )

    def write(self: Fp16Model, given: EngineSpec, folder: Path, islands: object = None) -> dict[str, str]:
        """Twins beside the graphs, for the runtime that has no float16 of its own."""
        kept(self, engines.EMULATION, folder)
        files: dict[str, str] = kept(self, given, folder)
        return files

    kept = Fp16Model.write
    monkeypatch.setattr(Fp16Model, "write", write)
    monkeypatch.setattr(Rounding, "twins", toy.path)
    made = with_engine(toy, engine, naive.write(engine, toy.path))
    twins = {path.name: "0" for path in toy.path.glob("*.emulation.*")}
    store(made)
    # The ranges give nothing away: only the gate knows.
    monkeypatch.setattr(engines, "find_halves", lambda bundle, images: naive)
    arguments = (str(toy.path), "--images", str(photos), "--runtime", "rounding", "--precision", "fp16")
    code, found = answer(capsys, *arguments, "--no-repair")
    assert code == 1
    assert "mask_iou_mean" in str(found["rounding:A fp16"]["violations"])
    before = {path.name: path.read_bytes() for path in toy.path.glob("*.rounding.*")}
    code = main(["verify", *arguments, "--max-tries", "2", "--json"])
    captured = capsys.readouterr()
    (limited,) = json.loads(captured.out)["engines"]
    assert (code, limited["repaired"]) == (1, False)
    assert "no more than 2 tries are allowed" in limited["note"]
    assert "best of 2 tries: mask IoU 0." in limited["note"]
    first, second = [line for line in captured.err.splitlines() if ": try " in line]
    assert first.endswith("try 1 of at most 2")
    assert second.endswith(" s left at most")
    assert {path.name: path.read_bytes() for path in toy.path.glob("*.rounding.*")} == before
    code, found = answer(capsys, *arguments)
    assert code == 0
    raised = found["rounding:A fp16"]["raised"]
    assert isinstance(raised, list)
    assert {"decoder/toy_dx2", "decoder/toy_dy2"} <= set(raised)
    repaired = find_bundle(toy.path)
    assert list(repaired.manifest.raised["rounding-fp16"]) == raised
    assert repaired.manifest.fidelity["rounding:A-fp16"]["passed"] == 1
    graph = repaired.graph("decoder", engine)
    assert not graph.is_symlink()
    assert graph.read_bytes() != before[graph.name]
    assert repaired.manifest.model_id == toy.manifest.model_id
    # Only what the model is made of comes into its folder.
    assert {path.name for path in repaired.path.iterdir()} == {
        "manifest.json",
        *repaired.manifest.files,
        *twins,
    }


def test_a_wrong_kernel_is_named(toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answer(capsys, str(toy.path), "--images", str(photos), "--runtime", "bending")
    assert code == 1
    assert found["bending fp32"]["departs_at"] == "decoder/toy_distance (Sqrt)"
    code, found = answer(capsys, str(toy.path), "--images", str(photos), "--runtime", "onnxruntime")
    assert code == 0
    assert found["onnxruntime:cpu fp32"]["departs_at"] is None


def test_devices_are_engines_of_their_own(
    toy: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (str(toy.path), "--images", str(photos), "--limit", "1")
    assert main(["verify", *arguments, "--runtime", "rounding:A", "--no-repair"]) == 0
    manifest = find_bundle(toy.path).manifest
    assert set(manifest.fidelity) == {"rounding:A-fp32"}
    assert "mask IoU" in engine_line(manifest, EngineSpec("rounding:A"))
    assert engine_line(manifest, EngineSpec("rounding:B")).endswith("not verified here; run sam-edge verify")


def test_the_shipped_model_is_not_written_to() -> None:
    assert not store(find_bundle("nano"))


def test_fp16_that_is_not_there_says_how_to_make_it(toy: Bundle) -> None:
    with pytest.raises(InputError, match="--target onnxruntime --precision fp16"):
        load(toy.path, runtime="onnxruntime", precision="fp16")


def test_a_failed_half_falls_back_to_float32(toy: Bundle) -> None:
    halved = find_halves(toy, [textured_image((160, 120))])
    made = with_halves(toy, halved, HALF)
    store(replace(made, manifest=replace(made.manifest, fidelity={HALF.key: {"passed": 0.0}})))
    with load(toy.path, runtime="onnxruntime") as segmenter:
        assert segmenter.engine == EngineSpec("onnxruntime:cpu")
    with pytest.raises(FidelityError):
        load(toy.path, runtime="onnxruntime", precision="fp16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere is not a model"),
        (("nano", "--runtime", "tpu"), "unknown runtime 'tpu'"),
        (("nano", "--runtime", "rounding:C"), "has no device 'C'"),
        (("nano", "--precision", "fp16"), "has no fp16 engine"),
        (("nano", "--precision", "int3"), "--precision"),
        (("nano", "--images", "nowhere"), "not a folder"),
        (("nano", "--images", "."), "holds no images"),
        (("nano", "--limit", "0"), "--limit"),
        ((), "DIR"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_an_unreadable_image_is_named_and_skipped(
    toy: Bundle, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "c.png").write_bytes(b"no image")
    assert main(["verify", str(toy.path), "--images", str(photos)]) == 0
    assert "1 skipped: c.png" in caplog.text
