"""A student learns a teacher of random weights, and is a checkpoint of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from sam_edge.cli import cli
from sam_edge.errors import InputError
from sam_edge.imaging.image import write_image
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.families import find_family
from sam_edge.modeling.nano.sam_encoder import NanoImageEncoder
from sam_edge.modeling.sam import Sam
from sam_edge.synthetic.scene import Scene
from sam_edge.training import distill as distill_module
from sam_edge.training.distill import distill, embedding_loss
from sam_edge.training.runs.schedule import Length
from sam_edge.training.teacher import find_images, load_teacher, seen_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("teacher") / "mobile_sam.pt"
    torch.save(find_family("mobile_sam").build().state_dict(), file)
    return file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_image(folder / "scene.png", Scene().frame(0).image)
    return folder


@pytest.fixture(scope="module")
def run(teacher: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of seven steps, stopped once."""
    out = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill_module, "PEAK_RATE", 8e-3)  # a few steps must show what many would
        for steps in (2, 7):
            distill(teacher, photos, out, length=Length(1.0, steps), batch=1, device="cpu")
    return out


def test_the_loss_falls_also_after_going_on(run: Path) -> None:
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 8))
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < 0.95 * losses[0]


def test_the_student_is_a_checkpoint_with_the_teachers_decoder(run: Path, teacher: Path, photos: Path) -> None:
    name, student = load_model(run / "student.safetensors")
    assert name == "nano_sam"
    assert isinstance(student, Sam)
    taught = load_teacher(teacher, None, torch.device("cpu"))
    theirs = taught.sam.mask_decoder.state_dict()
    for key, value in student.mask_decoder.state_dict().items():
        assert torch.equal(value, theirs[key])
    image, _ = seen_by(find_family("nano_sam"), photos / "scene.png")
    with torch.inference_mode():
        ours, wanted = student.image_encoder(image[None]), taught.sam.image_encoder(image[None])
        torch.manual_seed(0)
        fresh = NanoImageEncoder().eval()(image[None])
    assert ours.shape == wanted.shape
    assert float(embedding_loss(ours, wanted)) < float(embedding_loss(fresh, wanted))
    with safe_open(run / "student.safetensors", "pt") as stored:
        assert stored.metadata()["teacher"] == "mobile_sam"


def test_lessons_of_another_teacher_are_refused(run: Path, teacher: Path, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.manual_seed(1)
    torch.save(find_family("mobile_sam").build().state_dict(), other)
    with pytest.raises(InputError, match="another teacher"):
        distill(other, photos, run, length=Length(1.0, 8), batch=1, device="cpu")


def test_a_damaged_lesson_is_made_anew(run: Path, teacher: Path, photos: Path) -> None:
    (lesson,) = (run / "teacher").glob("*.npy")
    before = np.load(lesson)
    lesson.write_bytes(lesson.read_bytes()[:1000])
    distill(teacher, photos, run, length=Length(1.0, 7), batch=1, device="cpu")
    assert np.array_equal(np.load(lesson), before)


def test_a_model_without_sams_decoder_is_no_teacher(photos: Path, tmp_path: Path) -> None:
    weights = Path(__file__).parents[2] / "training/weights/nano.safetensors"
    with pytest.raises(InputError, match="is a nano"):
        distill(weights, photos, tmp_path, length=Length(1.0, 1))


def test_images_are_found_and_missed(tmp_path: Path, photos: Path) -> None:
    assert [path.name for path in find_images(photos)] == ["scene.png"]
    with pytest.raises(InputError, match="holds no images"):
        find_images(tmp_path)


def test_a_image_that_cannot_be_read_is_named(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        distill(teacher, tmp_path / "photos", tmp_path / "out", length=Length(1.0, 1), device="cpu")


def test_the_command_says_what_comes_next(run: Path, teacher: Path, photos: Path) -> None:
    arguments = ["distill", "--teacher", str(teacher), "--images", str(photos), "--out", str(run)]
    answer = CliRunner().invoke(cli, [*arguments, "--steps", "7", "--batch", "1", "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    assert "sam-edge export" in answer.output
    assert json.loads((run / "teacher/teacher.json").read_text())["teacher"] == "mobile_sam"
