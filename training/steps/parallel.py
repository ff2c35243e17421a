"""Several processes training one model: each takes its share of the images, gradients are averaged.

On a CPU that others use too, processes of one thread each beat one process of several threads: they
wait for each other once a step instead of in every operator.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import start_processes

PATIENCE = timedelta(minutes=10)


def launch(function: Callable[..., None], processes: int, arguments: tuple[Any, ...]) -> None:
    """Call `function(rank, processes, *arguments)` in `processes` forked processes and wait for all.

    Forking shares the images that the caller has loaded. With one process, call it right here.
    However the caller ends, its processes end too.
    """
    if processes == 1:
        function(0, 1, *arguments)
        return
    port = _free_port()
    before = signal.signal(signal.SIGTERM, _leave)
    started = start_processes(
        _enter, (function, processes, port, arguments), nprocs=processes, join=False, start_method="fork"
    )
    try:
        while not started.join():
            pass
    finally:
        for process in started.processes:
            process.terminate()
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _enter(
    rank: int,
    function: Callable[..., None],
    processes: int,
    port: int,
    arguments: tuple[Any, ...],
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=processes, timeout=PATIENCE
    )
    try:
        function(rank, processes, *arguments)
    finally:
        distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def average(model: nn.Module, number: float) -> float:
    """Average the gradients and the normalisation statistics over all processes, in one message.

    Returns the first process's `number`, so that all of them go by one clock.
    """
    if not distributed.is_initialized():
        return number
    tensors: list[Tensor] = [p.grad for p in model.parameters() if p.grad is not None]
    tensors += [b for b in model.buffers() if b.dtype.is_floating_point]
    processes = distributed.get_world_size()
    shared = number * processes if distributed.get_rank() == 0 else 0.0
    flat = torch.cat([t.reshape(-1) for t in tensors] + [torch.tensor([shared], dtype=torch.float32)])
    distributed.all_reduce(flat)
    flat /= processes
    parts = flat[:-1].split([t.numel() for t in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
    return float(flat[-1])
