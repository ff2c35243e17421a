"""Train nano, in one command that can be stopped and started again.

    python -m sam_edge.training.pack --data ../shared/data --out out/packs
    python -m sam_edge.training.train --packs out/packs --data ../shared/data --out out/nano \
        --minutes 75

Writes `checkpoint.pt` (everything a later run needs), `nano.safetensors` (averaged, deployed),
`nano_trainable.safetensors` (averaged, a start for another run: --init), `log.csv` and `curves.png` into
the output folder. Started again with the same folder it goes on from there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sam_edge.errors import InputError, SamEdgeError
from sam_edge.modeling.nano import PIXEL_MEAN, PIXEL_STD, Nano, build_nano

from .batches import Batches, loader
from .checkpoint import (
    Averaged,
    export_weights,
    load_checkpoint,
    load_trainable,
    save_checkpoint,
    save_trainable,
)
from .curves import draw_curves, write_log
from .parallel import average, launch
from .pictures import Picture, load_packs
from .rounds import interactive_loss, normalise
from .schedule import FREEZE_NORMS, learning_rate, phase_at
from .watch import Case, coco_cases, quick_score

PEAK_RATE = 2.0e-3
WEIGHT_DECAY = 0.02
CLIP_NORM = 3.0
EMA_DECAY = 0.998
THIRD_ROUND_SHARE = 0.35
VAL_PICTURES = 48
VAL_OBJECTS = 3


class Run:
    """The state of a training run: the model, its average, the optimiser and the clock."""

    def __init__(
        self,
        out: Path,
        minutes: float,
        seed: int,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        torch.manual_seed(seed)
        self.rank = rank
        self.processes = processes
        self.out = out
        self.seconds = minutes * 60.0
        self.seed = seed
        self.device = device
        self.model = build_nano().train().to(device)
        self.average = Averaged(self.model, EMA_DECAY)
        self.optimiser = torch.optim.AdamW(_groups(self.model), lr=PEAK_RATE, betas=(0.9, 0.98))
        self.step = 0
        self.elapsed = 0.0
        self.began = time.monotonic()
        self.rows: list[dict[str, float]] = []

    @property
    def share(self) -> float:
        """The share of the run's time that is over."""
        return min(self.elapsed / self.seconds, 1.0)

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.out / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint, the deployed weights, the log and the curves."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "seed": self.seed,
            "rows": self.rows,
        }
        save_checkpoint(self.checkpoint, state)
        export_weights(self.average.model, self.out / "nano.safetensors", {"steps": str(self.step)})
        save_trainable(self.average.model, self.out / "nano_trainable.safetensors")
        write_log(self.out / "log.csv", self.rows)
        draw_curves(self.out / "curves.png", self.rows)

    def start_from(self, weights: Path) -> None:
        """Begin with another run's averaged weights instead of random ones."""
        load_trainable(self.model, weights)
        load_trainable(self.average.model, weights)

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = load_checkpoint(self.checkpoint)
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.began = time.monotonic() - self.elapsed
        self.rows = state["rows"]


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    kernels = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": kernels, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]


def freeze_norms(model: nn.Module) -> None:
    """From now on the normalisations use their running statistics, as the deployed model does."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def train_step(run: Run, batch: dict[str, Tensor]) -> dict[str, float]:
    """One step of the optimiser; raises SamEdgeError when the loss is no number."""
    rate = learning_rate(PEAK_RATE, run.share)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    batch = {name: x.to(run.device, non_blocking=True) for name, x in batch.items()}
    mean, std = (torch.tensor(v, device=run.device) for v in (PIXEL_MEAN, PIXEL_STD))
    rounds = 3 if np.random.default_rng((run.seed, run.step)).random() < THIRD_ROUND_SHARE else 2
    rng = np.random.default_rng((run.seed, run.step, run.rank))
    with torch.autocast(run.device.type, torch.bfloat16):
        images = normalise(batch["images"], mean, std)
        loss, numbers = interactive_loss(run.model, images, batch, rounds, rng)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise SamEdgeError(
            f"the loss is {value} at step {run.step}; the last good weights are in {run.out}: "
            "start again to go on from them"
        )
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    run.elapsed = average(run.model, time.monotonic() - run.began)
    nn.utils.clip_grad_norm_(run.model.parameters(), CLIP_NORM)
    run.optimiser.step()
    run.average.update(run.model)
    run.step += 1
    return {"loss": value / rounds, **numbers}


def train(run: Run, batches: Batches, cases: list[Case], every_s: float, workers: int) -> None:
    """Train until the run's time is over; the first process evaluates and saves every `every_s` s."""
    source = None
    sums: dict[str, list[float]] = {}
    due = run.elapsed + every_s
    shown = {"total": round(run.seconds), "initial": round(run.elapsed), "unit": "s", "smoothing": 0}
    with tqdm(**shown, disable=run.rank > 0) as bar:
        while run.elapsed < run.seconds:
            crops = phase_at(run.share).crops
            batches.set_crops(crops)
            if source is None:
                source = loader(batches, run.step * run.processes + run.rank, run.processes, workers)
            if run.share >= FREEZE_NORMS:
                freeze_norms(run.model)
            for name, value in train_step(run, next(source)).items():
                sums.setdefault(name, []).append(value)
            bar.n = round(run.elapsed)
            bar.set_postfix_str(f"step {run.step} loss {np.mean(sums['loss'][-50:]):.3f}")
            if run.elapsed >= due or run.elapsed >= run.seconds:
                due = run.elapsed + every_s
                if run.rank == 0:
                    run.rows.append(_row(run, crops[-1].size, sums, cases))
                    run.save()
                    tqdm.write(" ".join(f"{k}={v:.4g}" for k, v in run.rows[-1].items()))
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
        "rate": learning_rate(PEAK_RATE, run.share),
        "loss": means["loss"],
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
@click.option("--every", type=float, default=4.0, show_default=True, help="minutes between saves")
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
    every: float,
    seed: int,
    processes: int,
    threads: int,
    workers: int,
    device: str,
) -> None:
    """Train nano on the packed pictures, watching coco val."""
    cv2.setNumThreads(1)  # its thread pool does not survive the fork of the workers
    try:
        where = choose_device(device)
        pictures, cases = load_packs(packs), coco_cases(data, VAL_PICTURES, VAL_OBJECTS)
        settings = Settings(out, init, minutes, every * 60.0, seed, threads, workers, where)
        launch(_work, 1 if where.type == "cuda" else processes, (settings, pictures, cases))
    except SamEdgeError as error:
        raise click.ClickException(str(error)) from error


@dataclass(frozen=True)
class Settings:
    """What every process of a run is told."""

    out: Path
    init: Path | None
    minutes: float
    every_s: float
    seed: int
    threads: int
    workers: int
    device: torch.device


def _work(rank: int, processes: int, settings: Settings, pictures: list[Picture], cases: list[Case]) -> None:
    torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    run = Run(settings.out, settings.minutes, settings.seed, settings.device, rank, processes)
    if run.checkpoint.exists():
        run.resume()
    elif settings.init is not None:
        run.start_from(settings.init)
    batches = Batches(pictures, settings.seed, processes)
    train(run, batches, cases, settings.every_s, settings.workers)


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one; InputError where `cuda` is asked for and there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device here; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def load_average(path: Path) -> Nano:
    """The averaged model of a training checkpoint, in its training form."""
    model = build_nano()
    model.load_state_dict(load_checkpoint(path)["average"])
    return model


if __name__ == "__main__":
    main()
