"""What a training run is at one moment, and how it is kept on disk."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

from sam_edge.modeling.nano.model import Nano, build_nano
from sam_edge.training.steps.dense import DenseHeads
from sam_edge.training.steps.optimiser import Optimiser

from .checkpoint import (
    Averaged,
    export_weights,
    load_checkpoint,
    load_trainable,
    save_checkpoint,
    save_trainable,
)
from .curves import draw_curves, write_log
from .schedule import Length

EMA_DECAY = 0.999
PEAK_RATE = 2.0e-3


class Run:
    """The state of a training run: the model, its average, the optimiser and the clock."""

    def __init__(
        self,
        out: Path,
        length: Length,
        seed: int,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
        peak_rate: float = PEAK_RATE,
    ) -> None:
        torch.manual_seed(seed)
        self.rank = rank
        self.processes = processes
        self.peak_rate = peak_rate
        self.out = out
        self.length = length
        self.seed = seed
        self.device = device
        self.model = build_nano().train().to(device)
        self.average = Averaged(self.model, EMA_DECAY)
        self.dense = DenseHeads().to(device)
        self.trained = nn.ModuleDict({"model": self.model, "dense": self.dense})
        self.optimiser = Optimiser(self.trained)
        self.step = 0
        self.elapsed = 0.0
        self.began = time.monotonic()
        self.rows: list[dict[str, float]] = []

    @property
    def share(self) -> float:
        """The share of the run that is over."""
        return self.length.share(self.elapsed, self.step)

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.out / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint, which a later start goes on from."""
        state = {
            "trained": self.trained.state_dict(),
            "average": self.average.model.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "seed": self.seed,
            "rows": self.rows,
        }
        save_checkpoint(self.checkpoint, state)

    def publish(self) -> None:
        """Write the averaged weights, the log and the curves."""
        export_weights(self.average.model, self.out / "nano.safetensors", {"steps": str(self.step)})
        save_trainable(self.average.model, self.out / "nano_trainable.safetensors")
        write_log(self.out / "log.csv", self.rows)
        draw_curves(self.out / "curves.png", self.rows)

    def start_from(self, weights: Path) -> None:
        """Begin with another run's averaged weights instead of random ones."""
        load_trainable(self.model, weights)
        load_trainable(self.average.model, weights)

    def tune_only_iou(self) -> None:
        """From now on only the head that predicts the IoU learns; the masks stay as they are."""
        self.trained.requires_grad_(False)
        self.model.decoder.iou.requires_grad_(True)

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = load_checkpoint(self.checkpoint)
        self.trained.load_state_dict(state["trained"])
        self.average.model.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.began = time.monotonic() - self.elapsed
        self.rows = state["rows"]


def load_average(path: Path) -> Nano:
    """The averaged model of a training checkpoint, in its training form."""
    model = build_nano()
    model.load_state_dict(load_checkpoint(path)["average"])
    return model


def freeze_norms(model: nn.Module) -> None:
    """From now on the normalisations use their running statistics, as the fused model does."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
