"""A student learns a teacher of random weights, and is a checkpoint of its own."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from sam_edge.cli import cli
from sam_edge.errors import InputError
from sam_edge.geometry import InputSize
from sam_edge.imaging.image import write_image
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.families import FAMILIES, Family, find_family
from sam_edge.modeling.nano.sam_encoder import NanoImageEncoder
from sam_edge.modeling.sam import Sam
from sam_edge.synthetic.scene import Scene
from sam_edge.training import distill as distill_module
from sam_edge.training import teacher as teacher_module
from sam_edge.training.distill import distill, embedding_loss
from sam_edge.training.runs.schedule import Length
from sam_edge.training.teacher import find_images, load_teacher, seen_by

pytestmark = pytest.mark.slow


SIDE_PX = 256
"""Of the images that teacher and student see here: a sixteenth of SAM's."""


@pytest.fixture(scope="module", autouse=True)
def small_inputs() -> Iterator[None]:
    """Teacher and student see small images: a step takes a tenth of a second instead of two."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mobile_sam", "nano_sam"):
            small = replace(find_family(name), input_size=InputSize(SIDE_PX, 32, square=True))
            patch.setitem(FAMILIES, name, small)
        yield


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
    """A run of five steps, stopped once."""
    out = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill_module, "PEAK_RATE", 8e-3)  # a few steps must show what many would
        for steps in (1, 5):
            distill(teacher, photos, out, length=Length(1.0, steps), batch=1, device="cpu")
    return out


def test_the_loss_falls_also_after_going_on(run: Path) -> None:
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 6))
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
        distill(other, photos, run, length=Length(1.0, 6), batch=1, device="cpu")


def test_a_damaged_lesson_is_made_anew(run: Path, teacher: Path, photos: Path) -> None:
    (lesson,) = (run / "teacher").glob("*.npy")
    before = np.load(lesson)
    lesson.write_bytes(lesson.read_bytes()[:1000])
    distill(teacher, photos, run, length=Length(1.0, 5), batch=1, device="cpu")
    assert np.array_equal(np.load(lesson), before)


@pytest.fixture
def slow_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which reading an image takes 40 seconds, and all else no time."""
    now_s = 1000.0

    def read(family: Family, path: Path) -> tuple[torch.Tensor, tuple[int, int]]:
        nonlocal now_s
        now_s += 40.0
        return seen_by(family, path)

    for module in (distill_module, teacher_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now_s))
        monkeypatch.setattr(module, "seen_by", read)


@pytest.fixture
def two_photos(photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "two"
    shutil.copytree(photos, folder)
    write_image(folder / "other.png", Scene(seed=1).frame(0).image)
    return folder


def test_the_teachers_embeddings_count_as_part_of_the_minutes_and_are_shown(
    slow_reading: None, teacher: Path, two_photos: Path, tmp_path: Path
) -> None:
    shown: list[tuple[str, float | None]] = []

    def progress(step: str, done: float | None = None) -> None:
        shown.append((step, done))

    distill(teacher, two_photos, tmp_path, length=Length(3.0), batch=1, device="cpu", progress=progress)
    with (tmp_path / "log.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    # 80 of 180 seconds are the teacher's: three steps fit into the rest, not five.
    assert int(last["step"]) == 3
    assert float(last["minutes"]) == pytest.approx(200 / 60, abs=0.01)
    words = [step for step, _ in shown]
    assert "computing the teacher's embedding of 2 images: about 1.3 minutes" in words
    assert words[-1].startswith("learning")
    shares = [done for _, done in shown if done is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_minutes_that_the_embeddings_need_alone_are_refused(
    slow_reading: None, teacher: Path, two_photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"about 1\.3 minutes.*give more --minutes"):
        distill(teacher, two_photos, tmp_path, length=Length(1.0), batch=1, device="cpu")
    assert not (tmp_path / "student.safetensors").exists()


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
    answer = CliRunner().invoke(cli, [*arguments, "--steps", "5", "--batch", "1", "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    assert "sam-edge export" in answer.output
    assert json.loads((run / "teacher/teacher.json").read_text())["teacher"] == "mobile_sam"
