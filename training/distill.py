"""Teach nano's trunk to be the image encoder of any SAM whose decoder is kept.

After NanoSAM (`NVIDIA-AI-IOT/nanosam`), which distils MobileSAM's embedding into a ResNet18; here the masks
the frozen decoder makes of both embeddings are compared too, so that the student is precise where it matters.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.errors import SamEdgeError
from sam_edge.modeling.families import find_family
from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.nano.sam_encoder import NanoImageEncoder
from sam_edge.progress import Progress, silent
from sam_edge.storage.files import atomic_path
from sam_edge.training.runs.checkpoint import load_checkpoint, save_checkpoint
from sam_edge.training.runs.schedule import Length, learning_rate
from sam_edge.training.steps.optimiser import Optimiser
from sam_edge.training.steps.step import CLIP_NORM, advising_on_memory, mixed_precision

from .teacher import Lessons, Teacher, find_images, load_teacher, minutes_of, seen_by
from .train import choose_device

STUDENT = "nano_sam"
PEAK_RATE = 1.0e-3
MASK_SHARE = 0.5
AN_HOUR = Length(minutes=60.0)
TENTHS = 10
"""How often a run without a terminal says how far it is."""
COLUMNS = ("step", "minutes", "rate", "loss", "embedding", "masks")


@dataclass(frozen=True)
class Settings:
    """How a student learns."""

    out: Path
    length: Length
    batch: int
    """Images a step."""
    seed: int
    device: torch.device
    progress: Progress


def distill(
    teacher: str | Path,
    images: str | Path,
    out: str | Path,
    family: str | None = None,
    *,
    length: Length = AN_HOUR,
    batch: int = 4,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = silent,
) -> Path:
    """Train a student of the teacher's.

    Args:
        teacher: a checkpoint `sam-edge export` could export.
        images: a folder with images; labels are not needed.
        out: the folder for the student, its log, and the teacher's answers. A run stopped there goes on.
        family: the teacher's; None guesses it.
        length: of the whole run. Minutes count the teacher's embeddings, and what earlier runs took.
        batch: images a step.
        seed: of the student's first weights, and of the order of the images.
        device: auto, cpu or cuda.
        progress: shows what is done and about how long it takes.

    Returns:
        `student.safetensors` in `out`, a checkpoint of family `nano_sam`.

    Raises:
        InputError: no images, an unreadable one, no CUDA device, a teacher without SAM's decoder, or minutes
            that the teacher's embeddings need alone.
        CheckpointError: the teacher's file does not hold weights, or not of that family.
        SamEdgeError: the loss is not a number, or memory ran out; the last checkpoint is kept.
    """
    began = time.monotonic()
    settings = Settings(Path(out), length, batch, seed, choose_device(device), progress)
    photos = find_images(Path(images))
    progress(f"reading {teacher}")
    model = load_teacher(Path(teacher), family, settings.device)
    limit_s = None if length.steps else length.minutes * 60.0 - (time.monotonic() - began)

    def teaching(step: str, done: float | None = None) -> None:
        # What share of the run this work is, is known by the clock alone.
        progress(step, None if length.steps else length.share(time.monotonic() - began, 0))

    lessons = Lessons(model, photos, settings.out / "teacher", settings.device, limit_s, teaching)
    return _train(model, lessons, settings, began)


def _train(teacher: Teacher, lessons: Lessons, settings: Settings, began: float) -> Path:
    """Train until the run that began at that reading of the monotonic clock (s) is over."""
    torch.manual_seed(settings.seed)
    student = NanoImageEncoder().train().to(settings.device)
    optimiser = Optimiser(student)
    checkpoint = settings.out / "checkpoint.pt"
    rows: list[dict[str, float]] = []
    step = 0
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        student.load_state_dict(state["student"])
        optimiser.load_state_dict(state["optimiser"])
        step, rows = state["step"], state["rows"]
        began -= state["elapsed"]
    an_epoch = math.ceil(len(lessons) / settings.batch)
    sums: list[dict[str, float]] = []
    shown = _ShownProgress(settings.progress)
    while (share := settings.length.share(time.monotonic() - began, step)) < 1.0:
        rate = learning_rate(PEAK_RATE, share)
        with advising_on_memory(settings.batch, max(1, settings.batch // 2)):
            sums.append(_step(student, optimiser, teacher, lessons, settings, step, rate))
        step += 1
        share = settings.length.share(time.monotonic() - began, step)
        shown.after_step(share, step, sums[-1]["loss"])
        if step % an_epoch == 0 or share >= 1.0:
            means = {name: float(np.mean([row[name] for row in sums])) for name in sums[0]}
            elapsed = time.monotonic() - began
            rows.append({"step": step, "minutes": elapsed / 60.0, "rate": rate, **means})
            sums = []
            state = {"student": student.state_dict(), "optimiser": optimiser.state_dict()}
            save_checkpoint(checkpoint, {**state, "step": step, "elapsed": elapsed, "rows": rows})
            _write_log(settings.out / "log.csv", rows)
    target = settings.out / "student.safetensors"
    save_student(student, teacher, target)
    return target


class _ShownProgress:
    """Shows how far the learning is: the share at every step, new words at every tenth of the run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began = time.monotonic()
        self._start: float | None = None
        self._tenth = -1
        self._words = ""

    def after_step(self, share: float, step: int, loss: float) -> None:
        """Show that `share` of the run, 0 to 1, is over after step number `step`."""
        if self._start is None:
            # The first step is slower than the others.
            self._began, self._start = time.monotonic(), share
        tenth = int(share * TENTHS)
        if tenth > self._tenth:
            self._tenth = tenth
            self._words = f"learning: step {step}, loss {loss:.3f}"
            if self._start < share < 1.0:
                left_s = (time.monotonic() - self._began) * (1.0 - share) / (share - self._start)
                self._words += f", about {minutes_of(left_s)} left"
        self._progress(self._words, share)


def _step(
    student: NanoImageEncoder,
    optimiser: Optimiser,
    teacher: Teacher,
    lessons: Lessons,
    settings: Settings,
    step: int,
    rate: float,
) -> dict[str, float]:
    rng = np.random.default_rng((settings.seed, step))
    numbers = list(_drawn(len(lessons), settings, step))
    family = find_family(STUDENT)
    seen = [seen_by(family, lessons.photos[number]) for number in numbers]
    images = torch.stack([image for image, _ in seen]).to(settings.device)
    wanted = torch.stack([lessons[number] for number in numbers]).to(settings.device)
    spots = np.stack([rng.uniform(0.0, 1.0, 2) * content for _, content in seen])
    with mixed_precision(settings.device):
        embedding = student(images)
    embedding = embedding.float()
    near = embedding_loss(embedding, wanted)
    alike = mask_loss(teacher, embedding, wanted, torch.from_numpy(spots).float().to(settings.device))
    loss = near + MASK_SHARE * alike
    value = float(loss.detach())
    loss.backward()
    length = float(nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM))
    if not (math.isfinite(value) and math.isfinite(length)):
        raise SamEdgeError(
            (
                f"the loss is {value}, its gradient {length} at step {step}; the last good weights "
                f"are in {settings.out}"
            ),
            hint="start again to go on from them",
        )
    optimiser.step(rate)
    return {"loss": value, "embedding": float(near.detach()), "masks": float(alike.detach())}


def embedding_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Smooth L1 loss of the embeddings (B, C, h, w), in units of the standard deviation of `theirs`."""
    spread = theirs.std().clamp(min=1.0e-6)
    return F.smooth_l1_loss(ours / spread, theirs / spread)


def mask_loss(teacher: Teacher, ours: Tensor, theirs: Tensor, spots: Tensor) -> Tensor:
    """How much the teacher's masks of one click an image differ between two embeddings: BCE, dice and IoU.

    Args:
        ours, theirs: embeddings (B, C, h, w) of the student and the teacher.
        spots: the clicks (B, 2), x and y in pixels of the encoder's input.
    """
    losses = []
    for k in range(len(ours)):
        coords = torch.stack([spots[k], torch.zeros_like(spots[k])])[None]
        labels = torch.tensor([[1.0, -1.0]], device=ours.device)
        with torch.no_grad():
            logits, iou = teacher.sam.decode(theirs[k : k + 1], coords, labels)
        answer, answer_iou = teacher.sam.decode(ours[k : k + 1], coords, labels)
        target, soft = torch.sigmoid(logits), torch.sigmoid(answer)
        both = (soft * target).sum((2, 3))
        dice = 1.0 - (2.0 * both + 1.0) / (soft.sum((2, 3)) + target.sum((2, 3)) + 1.0)
        bce = F.binary_cross_entropy_with_logits(answer, target)
        losses.append(bce + dice.mean() + F.mse_loss(answer_iou, iou))
    return torch.stack(losses).mean()


def save_student(student: NanoImageEncoder, teacher: Teacher, path: Path) -> None:
    """The student's encoder, fused, with the teacher's decoder, under SAM's names."""
    encoder = NanoImageEncoder()
    encoder.load_state_dict(student.state_dict())
    sam = teacher.sam
    parts = {
        "image_encoder": fuse(encoder.eval()),
        "prompt_encoder": sam.prompt_encoder,
        "mask_decoder": sam.mask_decoder,
    }
    weights = {
        f"{part}.{name}": value.detach().cpu().contiguous().clone()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }
    about = {"family": STUDENT, "teacher": teacher.name, "teacher_sha256": teacher.checkpoint_sha256}
    with atomic_path(path) as temporary:
        save_file(weights, temporary, {**about, "licence": teacher.family.licence})


def _drawn(photos: int, settings: Settings, step: int) -> Iterator[int]:
    """The images of a step: every epoch goes through all of them, in an order of its own."""
    for place in range(step * settings.batch, (step + 1) * settings.batch):
        epoch, index = divmod(place, photos)
        yield int(np.random.default_rng((settings.seed, 1, epoch)).permutation(photos)[index])


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({name: round(row[name], 5) for name in COLUMNS} for row in rows)
