"""Train nano, in one command that can be stopped and started again.

    python -m sam_edge.training.data.pack --data ../shared/data --out out/packs
    python -m sam_edge.training.train --packs out/packs --data ../shared/data --out out/nano \
        --minutes 75

Writes `checkpoint.pt` (everything a later run needs), `nano.safetensors` (averaged, fused),
`nano_trainable.safetensors` (averaged, a start for another run: --init), `log.csv` and `curves.png` into
the output folder. Started again with the same folder it goes on from there; the checkpoint is written
whenever as many images as there are have been seen. With --steps instead of --minutes a slow
machine takes as many as a fast one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from tqdm import tqdm

from sam_edge.errors import InputError, SamEdgeError
from sam_edge.training.data.batches import Batches, loader
from sam_edge.training.data.images import Photo, load_packs
from sam_edge.training.data.simulate import BOX_SHARE
from sam_edge.training.runs.run import PEAK_RATE, Run, freeze_norms
from sam_edge.training.runs.schedule import FREEZE_NORMS, Length, learning_rate, phase_at
from sam_edge.training.runs.watch import Case, coco_cases, quick_score
from sam_edge.training.steps.parallel import launch
from sam_edge.training.steps.step import advising_on_memory, train_step

VAL_IMAGES = 48
VAL_OBJECTS = 3


def train(run: Run, batches: Batches, cases: list[Case], settings: Settings) -> None:
    """Train until the run is over. The first process evaluates now and then, and saves once an epoch."""
    source = None
    sums: dict[str, list[float]] = {}
    due = run.elapsed + settings.every_s
    unsaved = 0
    with tqdm(total=100, unit="%", smoothing=0, disable=run.rank > 0) as bar:
        while run.share < 1.0:
            crops = tuple(crop.times(settings.batch) for crop in phase_at(run.share).crops)
            batches.set_crops(crops)
            if source is None:
                first = run.step * run.processes + run.rank
                source = loader(batches, first, run.processes, settings.workers)
            if run.share >= FREEZE_NORMS or settings.only_iou:
                freeze_norms(run.model)
            batch = next(source)
            with advising_on_memory(settings.batch, settings.batch / 2):
                for name, value in train_step(run, batch).items():
                    sums.setdefault(name, []).append(value)
            bar.n = round(100 * run.share, 1)
            bar.set_postfix_str(f"step {run.step} loss {np.mean(sums['loss'][-50:]):.3f}")
            unsaved += len(batch["images"]) * run.processes
            evaluates = run.elapsed >= due or run.share >= 1.0
            if run.rank == 0 and evaluates:
                run.rows.append(_row(run, crops[-1].size, sums, cases))
                run.publish()
                tqdm.write(" ".join(f"{k}={v:.4g}" for k, v in run.rows[-1].items()))
            if run.rank == 0 and (evaluates or unsaved >= batches.photos):
                run.save()
                unsaved = 0
            if evaluates:
                due = run.elapsed + settings.every_s
                sums = {}


def _row(run: Run, size: int, sums: dict[str, list[float]], cases: list[Case]) -> dict[str, float]:
    means = {name: float(np.nanmean(values)) for name, values in sums.items()}
    average = run.average.model
    scores = quick_score(average.cpu(), cases)
    average.to(run.device)
    return {
        "step": run.step,
        "minutes": run.elapsed / 60.0,
        "size": size,
        "rate": learning_rate(run.peak_rate, run.share),
        "loss": means["loss"],
        "dense": means["dense"],
        **{f"train_{name}": means[name] for name in ("point", "oracle", "box")},
        **{f"val_{name}": value for name, value in scores.items()},
    }


@click.command()
@click.option("--packs", type=click.Path(path_type=Path), default=Path("out/packs"))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/nano"))
@click.option(
    "--init",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="begin with these trainable weights, such as training/weights/nano_trainable.safetensors",
)
@click.option("--minutes", type=float, default=75.0, show_default=True, help="of the whole run")
@click.option("--steps", type=click.IntRange(1), help="of the whole run, instead of --minutes")
@click.option(
    "--skip",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="share of the schedule to leave out at its beginning, for weights that have had it",
)
@click.option(
    "--boxes",
    type=click.FloatRange(0, 1),
    default=BOX_SHARE,
    show_default=True,
    help="share of the first prompts that have a box",
)
@click.option("--only-iou", is_flag=True, help="the masks stay, the head that predicts their IoU learns")
@click.option("--every", type=float, default=4.0, show_default=True, help="minutes between evaluations")
@click.option("--batch", type=float, default=1.0, show_default=True, help="times the schedule's images a step")
@click.option(
    "--rate", type=float, default=PEAK_RATE, show_default=True, help="of learning, where it is highest"
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--processes", type=int, default=2, show_default=True, help="on a CPU: one a core")
@click.option("--threads", type=int, default=1, show_default=True, help="of each process")
@click.option("--workers", type=int, default=1, show_default=True, help="making batches, each")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(
    packs: Path,
    data: Path,
    out: Path,
    init: Path | None,
    minutes: float,
    steps: int | None,
    skip: float,
    boxes: float,
    only_iou: bool,
    every: float,
    batch: float,
    rate: float,
    seed: int,
    processes: int,
    threads: int,
    workers: int,
    device: str,
) -> None:
    """Train nano on the packed images, watching coco val."""
    cv2.setNumThreads(1)  # its thread pool does not survive the fork of the workers
    try:
        where = choose_device(device)
        photos, cases = load_packs(packs), coco_cases(data, VAL_IMAGES, VAL_OBJECTS)
        length = Length(minutes, steps, skip)
        settings = Settings(
            out, init, length, boxes, only_iou, every * 60.0, batch, rate, seed, threads, workers, where
        )
        launch(_work, 1 if where.type == "cuda" else processes, (settings, photos, cases))
    except SamEdgeError as error:
        raise click.ClickException(str(error)) from error


@dataclass(frozen=True)
class Settings:
    """The settings of a run, the same in all its processes."""

    out: Path
    init: Path | None
    length: Length
    boxes: float
    only_iou: bool
    every_s: float
    batch: float
    rate: float
    seed: int
    threads: int
    workers: int
    device: torch.device


def _work(rank: int, processes: int, settings: Settings, photos: list[Photo], cases: list[Case]) -> None:
    torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    run = Run(settings.out, settings.length, settings.seed, settings.device, rank, processes, settings.rate)
    if run.checkpoint.exists():
        run.resume()
    elif settings.init is not None:
        run.start_from(settings.init)
    if settings.only_iou:
        run.tune_only_iou()
    batches = Batches(photos, settings.seed, processes, settings.boxes)
    train(run, batches, cases, settings)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA if this machine has it.

    Raises:
        InputError: `cuda` on a machine without it.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device here", hint="use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main()
