"""A folder brings PyTorch's own answers, and every runtime is compared with them, the trusted one first."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_edge.bundle.folder import MANIFEST, Bundle, find_bundle
from sam_edge.bundle.manifest import dump
from sam_edge.cli import main
from sam_edge.errors import BundleError
from sam_edge.fidelity.self_test import ANSWERS, read_self_test, self_test_image
from sam_edge.geometry import InputSize
from sam_edge.loading import load
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import sha256
from sam_edge.tensors import Arrays

ENGINE = "onnxruntime:cpu"


@pytest.fixture
def model(tiny_bundle: Path, tmp_path: Path) -> Path:
    """An exported folder of one's own."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "model"))


@pytest.fixture
def rolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime whose masks lie a few pixels beside the objects."""
    right = OnnxRuntimeSession.run

    def run(self: OnnxRuntimeSession, feeds: Arrays) -> Arrays:
        answers = dict(right(self, feeds))
        if "logits" in answers:
            answers["logits"] = np.roll(answers["logits"], 3, -1)
        return answers

    monkeypatch.setattr(OnnxRuntimeSession, "run", run)


def reseal(folder: Path, **files: str) -> Bundle:
    """The folder with other hashes in its manifest."""
    bundle = find_bundle(folder)
    manifest = replace(bundle.manifest, files={**bundle.manifest.files, **files})
    (folder / MANIFEST).write_bytes(dump(manifest))
    return find_bundle(folder)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
    code = main(["verify", *arguments, "--limit", "1", "--json"])
    document = json.loads(capsys.readouterr().out)
    return code, {f"{item['runtime']} {item['precision']}": item for item in document["engines"]}


def test_the_trusted_runtime_is_compared_with_pytorch(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (model / ANSWERS).stat().st_size < 100_000
    code, found = answer(capsys, str(model), "--runtime", ENGINE)
    verdict = found[f"{ENGINE} fp32"]
    assert (code, verdict["against"], verdict["note"]) == (0, "PyTorch", None)
    kept = find_bundle(model).manifest.fidelity[f"{ENGINE}-fp32"]
    assert (kept["against_onnx"], kept["passed"], kept["images"]) == (0, 1, 1)
    # Another machine's float32, and not the same bits.
    assert kept["logits_rms"] < 1e-4


@pytest.mark.usefixtures("rolled")
def test_a_wrong_trusted_runtime_fails_and_judges_nobody(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = answer(capsys, str(model), "--runtime", ENGINE)
    assert code == 1
    verdict = found[f"{ENGINE} fp32"]
    assert not verdict["passed"]
    assert "logits_rms" in str(verdict["violations"])
    assert "install another onnxruntime" in str(verdict["note"])
    code, found = answer(capsys, str(model), "--runtime", "reference")
    assert (code, found["reference fp32"]["against"]) == (0, "PyTorch")
    assert "gives other answers here than PyTorch did" in str(found["reference fp32"]["note"])


@pytest.mark.usefixtures("rolled")
def test_a_folder_without_answers_says_that_nothing_was_learnt(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = find_bundle(model)
    files = {file: digest for file, digest in bundle.manifest.files.items() if file != ANSWERS}
    (model / MANIFEST).write_bytes(dump(replace(bundle.manifest, files=files)))
    code, found = answer(capsys, str(model), "--runtime", ENGINE)
    verdict = found[f"{ENGINE} fp32"]
    assert (code, verdict["against"], verdict["verified"]) == (3, "itself", False)
    # Nothing was learnt, and nothing is forgotten.
    assert find_bundle(model).manifest.fidelity == bundle.manifest.fidelity
    assert "export the model again" in str(verdict["note"])


def test_answers_of_another_size_are_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sealed all the same: a model's answers in another's folder."""
    with np.load(model / ANSWERS) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez_compressed(model / ANSWERS, **{**arrays, "embedding": arrays["embedding"][:100]})
    reseal(model, **{ANSWERS: sha256(model / ANSWERS)})
    assert main(["verify", str(model), "--runtime", ENGINE]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the engine's embedding has shape")


@pytest.mark.usefixtures("tiny_family")
class TestCheckpoint:
    """With the checkpoint PyTorch itself answers."""

    def test_engines_are_held_against_it(
        self, model: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, found = answer(capsys, str(model), "--runtime", ENGINE, "--checkpoint", str(tiny_checkpoint))
        verdict = found[f"{ENGINE} fp32"]
        assert (code, verdict["against"], verdict["verified"]) == (0, "PyTorch", True)
        # Every prompt of the gate, not the self test's four.
        assert find_bundle(model).manifest.fidelity[f"{ENGINE}-fp32"]["masks"] > 40

    @pytest.mark.usefixtures("rolled")
    def test_a_wrong_runtime_fails(
        self, model: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, found = answer(capsys, str(model), "--runtime", ENGINE, "--checkpoint", str(tiny_checkpoint))
        assert code == 1
        assert "mask_iou_mean" in str(found[f"{ENGINE} fp32"]["violations"])

    def test_a_folder_that_resizes_otherwise_fails(
        self, model: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        manifest = find_bundle(model).manifest
        other = replace(manifest.preprocess, resize="area")
        assert other != manifest.preprocess
        (model / MANIFEST).write_bytes(dump(replace(manifest, preprocess=other)))
        code, _ = answer(capsys, str(model), "--runtime", ENGINE, "--checkpoint", str(tiny_checkpoint))
        assert code == 1

    def test_another_checkpoint_is_refused(
        self, model: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        weights = torch.load(tiny_checkpoint)
        other = tmp_path / "other.pth"
        torch.save({name: value * 1.5 for name, value in weights.items()}, other)
        for file, message in ((other, "was not exported from"), (tmp_path / "none.pth", "none.pth")):
            assert main(["verify", str(model), "--runtime", ENGINE, "--checkpoint", str(file)]) == 2
            error = capsys.readouterr().err.splitlines()[-1]
            assert error.startswith("error: ")
            assert message in error


def test_answers_that_are_none_are_named(model: Path) -> None:
    with load(model, runtime=ENGINE) as segmenter:
        (model / ANSWERS).write_bytes(b"no archive")
        with pytest.raises(BundleError, match=rf"{ANSWERS} was edited or damaged"):
            read_self_test(find_bundle(model), segmenter)
        bundle = reseal(model, **{ANSWERS: sha256(model / ANSWERS)})
        with pytest.raises(BundleError, match=rf"{ANSWERS} does not hold answers of PyTorch"):
            read_self_test(bundle, segmenter)


@pytest.mark.parametrize(
    "arrays",
    [
        {"strides": np.array([0, 1])},
        {"strides": np.array([1, -1])},
        {"strides": np.array([1])},
        {"logits0": np.zeros((3, 8), np.float32)},
        {"logits1": np.array(["a"])},
        {"embedding": np.array(["a"])},
        {"iou0": np.zeros((2, 2), np.float32)},
    ],
)
def test_answers_under_a_valid_hash_that_cannot_be_compared(model: Path, arrays: dict[str, np.ndarray]) -> None:
    with np.load(model / ANSWERS) as stored:
        kept = {name: stored[name] for name in stored.files}
    np.savez_compressed(model / ANSWERS, **{**kept, **arrays})
    bundle = reseal(model, **{ANSWERS: sha256(model / ANSWERS)})
    message = rf"{ANSWERS} does not hold answers"
    with load(model, runtime=ENGINE) as segmenter, pytest.raises(BundleError, match=message):
        read_self_test(bundle, segmenter)


def test_answers_to_other_questions_are_left_alone(model: Path) -> None:
    np.savez_compressed(model / ANSWERS, version=np.array(0))
    bundle = reseal(model, **{ANSWERS: sha256(model / ANSWERS)})
    with load(model, runtime=ENGINE) as segmenter:
        assert isinstance(segmenter, Segmenter)
        assert read_self_test(bundle, segmenter) is None


@pytest.mark.parametrize(
    "size",
    [
        InputSize(512, 32, square=False),
        InputSize(1024, 64, square=True),
        InputSize(1024, 64, square=True, fit="squash"),
        InputSize(1024, 64, square=True, encoder_stride=2),
        InputSize(640, 32, square=False, fixed_wh=(640, 352)),
    ],
)
def test_the_image_is_not_resized(size: InputSize) -> None:
    image = self_test_image(size)
    view = size.view((image.shape[1], image.shape[0]))
    assert view.resized_wh == view.encoder_wh == (image.shape[1], image.shape[0])
    assert image.min() < 20
    assert image.max() > 235
