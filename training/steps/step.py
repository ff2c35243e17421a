"""One step of training: forward, losses, backward, and the weights' change."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from sam_edge.errors import SamEdgeError
from sam_edge.modeling.nano.model import PIXEL_MEAN, PIXEL_STD
from sam_edge.training.runs.run import Run
from sam_edge.training.runs.schedule import learning_rate

from .parallel import average
from .rounds import draw_rounds, interactive_loss, normalise

CLIP_NORM = 3.0
DENSE_SHARE = 0.5


def train_step(run: Run, batch: dict[str, Tensor]) -> dict[str, float]:
    """One step of the optimiser.

    Args:
        run: is changed: weights, optimiser, average, step and clock.
        batch: see `Batches`.

    Returns:
        `loss`, `dense` and the numbers of `interactive_loss`.

    Raises:
        SamEdgeError: loss or gradient is not a number; the weights are as before.
    """
    batch = {name: x.to(run.device, non_blocking=True) for name, x in batch.items()}
    mean, std = (torch.tensor(v, device=run.device) for v in (PIXEL_MEAN, PIXEL_STD))
    rounds = draw_rounds(np.random.default_rng((run.seed, run.step)))
    rng = np.random.default_rng((run.seed, run.step, run.rank))
    with mixed_precision(run.device):
        features = run.model.encoder(normalise(batch["images"], mean, std))
        loss, numbers = interactive_loss(run.model, features, batch, rounds, rng)
        dense = run.dense(features, batch["extents"], batch["groups"])
    loss = loss + DENSE_SHARE * dense
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _no_number("loss", value, run)
    loss.backward()
    run.elapsed = average(run.trained, time.monotonic() - run.began)
    length = float(nn.utils.clip_grad_norm_(run.trained.parameters(), CLIP_NORM))
    if not math.isfinite(length):
        raise _no_number("gradient", length, run)
    run.optimiser.step(learning_rate(run.peak_rate, run.share))
    run.average.update(run.model)
    run.step += 1
    return {"loss": value, "dense": float(dense.detach()), **numbers}


def _no_number(what: str, value: float, run: Run) -> SamEdgeError:
    return SamEdgeError(
        f"the {what} is {value} at step {run.step}; the last good weights are in {run.out}",
        hint="start again to go on from them",
    )


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it; a CUDA device older than Ampere stays in float32."""
    able = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


@contextmanager
def advising_on_memory(batch: float, smaller: float) -> Iterator[None]:
    """Running out of memory becomes an error that names a batch size to try."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch has a class for a full GPU and only a sentence for a full machine.
        full = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
        if not full:
            raise
        raise SamEdgeError(
            f"out of memory with --batch {batch:g}",
            hint=f"start again with --batch {smaller:g}; it goes on from the last checkpoint",
        ) from error
