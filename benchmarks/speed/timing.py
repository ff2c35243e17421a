"""Fair timing: candidates take turns in one process, and medians are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np


def interleaved_ms(
    candidates: Mapping[str, Callable[[], object]], rounds: int = 15, warmup: int = 2
) -> dict[str, float]:
    """Median milliseconds of each candidate, measured in turns so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, call in candidates.items():
            start = perf_counter()
            call()
            if turn >= warmup:
                times[name].append((perf_counter() - start) * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def gemm_call(side: int = 2048) -> Callable[[], object]:
    """A float32 matrix product of 2 * side**3 operations, the machine's yardstick."""
    generator = np.random.default_rng(0)
    left = generator.standard_normal((side, side), dtype=np.float32)
    right = generator.standard_normal((side, side), dtype=np.float32)
    out = np.empty_like(left)
    return lambda: np.matmul(left, right, out=out)


def gemm_gflops(milliseconds: float, side: int = 2048) -> float:
    """GFLOP/s of a `gemm_call` that took that long."""
    return 2 * side**3 / milliseconds / 1e6
