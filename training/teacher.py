"""A teacher's embedding of every image, computed once and kept on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_edge.errors import InputError
from sam_edge.fidelity.images import readable_images
from sam_edge.imaging.image import encoder_input, read_image
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.decoders.mask_decoder import MaskDecoder
from sam_edge.modeling.decoders.prompt_encoder import PromptEncoder
from sam_edge.modeling.families import Family, find_family
from sam_edge.modeling.sam import Sam
from sam_edge.progress import Progress, silent
from sam_edge.storage.files import atomic_path, sha256, write_bytes

ABOUT = "teacher.json"


@dataclass(frozen=True, eq=False)
class Teacher:
    """A SAM that is learned from, frozen, and how its family sees images."""

    name: str
    checkpoint_sha256: str
    sam: Sam
    family: Family


def load_teacher(checkpoint: Path, family: str | None, device: torch.device) -> Teacher:
    """The teacher of that checkpoint.

    Raises:
        InputError: no such family, or one without SAM's own prompt encoder and mask decoder.
        CheckpointError: the file does not hold weights, or not of that family.
    """
    name, model = load_model(checkpoint, family)
    usual = isinstance(model, Sam) and (type(model.prompt_encoder), type(model.mask_decoder)) == (
        PromptEncoder,
        MaskDecoder,
    )
    if not usual:
        raise InputError(
            f"{checkpoint} is a {name}",
            path=checkpoint,
            hint="give a SAM, whose decoder the student can keep",
        )
    assert isinstance(model, Sam)
    return Teacher(name, sha256(checkpoint), model.to(device), find_family(name))


def seen_by(family: Family, path: Path) -> tuple[Tensor, tuple[int, int]]:
    """An image as a family's input (3, H, W), and the part of it (width, height) that is image."""
    photo = read_image(path)
    view = family.input_size.view((photo.shape[1], photo.shape[0]))
    return torch.from_numpy(encoder_input(photo, view, family.preprocess)[0]), view.content_wh


def find_images(folder: Path) -> list[Path]:
    """All images below `folder` that can be read, by name; InputError when there are none."""
    return readable_images(folder)


class Lessons:
    """The teacher's embedding of every image, as float16 files in a folder. Finished files are used again.

    Args:
        teacher: what is learned from.
        photos: files of the images.
        folder: for the embeddings, 2 MB an image at SAM's size.
        device: the teacher's.
        limit_s: how long computing them may take, in seconds; None: as long as it takes.
        progress: shows how many are left; its shares are of this work alone.

    Raises:
        InputError: the folder holds another teacher's; an image cannot be read; by the images so far, all of
            them take longer than `limit_s`. What was computed is kept.
    """

    def __init__(
        self,
        teacher: Teacher,
        photos: Sequence[Path],
        folder: Path,
        device: torch.device,
        limit_s: float | None = None,
        progress: Progress = silent,
    ) -> None:
        self.teacher = teacher
        self.photos = photos
        self.folder = folder
        about = {"teacher": teacher.name, "checkpoint_sha256": teacher.checkpoint_sha256}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / ABOUT).exists() and json.loads((folder / ABOUT).read_text()) != about:
            raise InputError(
                f"{folder} was made with another teacher",
                path=folder,
                hint="remove it, or choose another --out",
            )
        write_bytes(folder / ABOUT, json.dumps(about).encode())
        self.files = [folder / f"{sha256(path)[:24]}.npy" for path in photos]
        self._compute(device, limit_s, progress)

    def _compute(self, device: torch.device, limit_s: float | None, progress: Progress) -> None:
        missing = [
            (path, file) for path, file in zip(self.photos, self.files, strict=True) if not _readable(file)
        ]
        step = f"computing the teacher's embedding of {len(missing)} images"
        if missing:
            progress(step, 0.0)
        began = time.monotonic()
        for count, (path, file) in enumerate(missing, 1):
            self._write(path, file, device)
            whole_s = (time.monotonic() - began) * len(missing) / count
            if count == 1:
                step = f"{step}: about {minutes_of(whole_s)}"
            if limit_s is not None and whole_s >= limit_s and count > 1:
                raise InputError(
                    f"the teacher's embeddings of {len(missing)} images take about {minutes_of(whole_s)}: "
                    f"of {minutes_of(limit_s)} nothing is left for learning",
                    path=self.folder,
                    hint="give more --minutes, or fewer images; embeddings that are finished are kept",
                )
            progress(step, count / len(missing))

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, number: int) -> Tensor:
        """The teacher's embedding (256, h, w) of image `number`."""
        return torch.from_numpy(np.load(self.files[number])).float()

    def _write(self, path: Path, file: Path, device: torch.device) -> None:
        image, _ = seen_by(self.teacher.family, path)
        with torch.inference_mode():
            embedding = self.teacher.sam.image_encoder(image[None].to(device))[0]
        with atomic_path(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, embedding.cpu().numpy().astype(np.float16))


def minutes_of(seconds: float) -> str:
    """Seconds for people: "40 seconds", "3.5 minutes", "12 minutes"."""
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 600 else f"{seconds / 60:.0f} minutes"


def _readable(file: Path) -> bool:
    """Whether an earlier run finished this file; a damaged one is computed again."""
    try:
        stored: NDArray[np.float16] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return stored.ndim == 3
