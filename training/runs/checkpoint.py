"""Averaged weights, resumable checkpoints and the fused weights that ship."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sam_edge.errors import CheckpointError
from sam_edge.modeling.fuse import fuse
from sam_edge.modeling.nano.model import PIXEL_MEAN, PIXEL_STD, Nano, build_nano
from sam_edge.storage.files import atomic_path

FORMAT = 1


class Averaged:
    """Exponential moving average of a model's parameters and normalisation statistics."""

    def __init__(self, model: Nano, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def update(self, model: Nano) -> None:
        """Move towards `model`; faster at the start, when the average still holds random weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, theirs = self.model.state_dict(), model.state_dict()
        with torch.no_grad():
            for name, value in mine.items():
                if value.dtype.is_floating_point:
                    value.lerp_(theirs[name], 1.0 - decay)
                else:
                    value.copy_(theirs[name])


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` atomically."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A state that `save_checkpoint` wrote; CheckpointError for anything else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: not a training checkpoint ({type(error).__name__})",
            path=path,
            hint="remove it to begin again",
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a training checkpoint", path=path, hint="remove it to begin again")
    return state


def export_weights(model: Nano, path: Path, metadata: dict[str, str]) -> None:
    """Write `model`, fused, as FP16 safetensors; `build_nano(fused=True)` loads it strictly."""
    plain = fuse(copy.deepcopy(model).eval())
    weights: dict[str, Tensor] = {
        name: value.detach().half().contiguous() for name, value in plain.state_dict().items()
    }
    about = {
        "family": "nano",
        "pixel_mean": ",".join(map(str, PIXEL_MEAN)),
        "pixel_std": ",".join(map(str, PIXEL_STD)),
        "license": "Apache-2.0",
        **metadata,
    }
    with atomic_path(path) as temporary:
        save_file(weights, temporary, about)


def save_trainable(model: Nano, path: Path) -> None:
    """Write `model` in its training form, all branches apart, as FP16 safetensors: a start for another run."""
    weights = {
        name: (value.half() if value.dtype.is_floating_point else value).contiguous()
        for name, value in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(weights, temporary, {"family": "nano", "form": "training"})


def load_trainable(model: Nano, path: Path) -> None:
    """Give `model`, in its training form, the weights that `save_trainable` wrote."""
    try:
        stored = load_file(path)
        wanted = model.state_dict()
        model.load_state_dict(
            {name: value.to(wanted[name].dtype) if name in wanted else value for name, value in stored.items()}
        )
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: not nano's trainable weights ({reason})",
            path=path,
            hint="give nano_trainable.safetensors of a run",
        ) from error


def load_weights(path: Path) -> Nano:
    """The fused model with the weights that `export_weights` wrote, in FP32."""
    model = build_nano(fused=True)
    try:
        model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: not nano's fused weights ({reason})",
            path=path,
            hint="write them with sam_edge.training.train",
        ) from error
    return model
