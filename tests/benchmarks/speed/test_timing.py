"""Times are taken in turns and their medians compared, on a clock that only the measured calls move."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sam_edge.benchmarks.speed import timing
from sam_edge.benchmarks.speed.timing import gemm_call, gemm_gflops, interleaved_ms


class Clock:
    """Seconds that pass only in calls made by `takes`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.called: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def takes(self, name: str, *milliseconds: float) -> Callable[[], None]:
        """A call that takes these times, one after the other."""
        times: Iterator[float] = iter(milliseconds)

        def call() -> None:
            self.called.append(name)
            self.now_s += next(times) / 1e3

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timing, "perf_counter", made)
    return made


def test_medians_without_the_warmup(clock: Clock) -> None:
    # The mean of what counts is 21, the smallest 1; with the warm-up the median would be 60.
    calls = {"slow": clock.takes("slow", 200, 100, 3, 1, 59), "even": clock.takes("even", 9, 9, 2, 4, 6)}
    assert interleaved_ms(calls, rounds=3, warmup=2) == pytest.approx({"slow": 3, "even": 4})


def test_candidates_take_turns(clock: Clock) -> None:
    calls = {name: clock.takes(name, *[1] * 4) for name in "abc"}
    interleaved_ms(calls, rounds=3, warmup=1)
    assert clock.called == list("abc" * 4)


def test_rate_of_a_matrix_product() -> None:
    """2 side^3 operations: 1000^3 products and sums in 1 ms are 2e12 a second."""
    assert gemm_gflops(1.0, 1000) == pytest.approx(2000)
    assert gemm_gflops(4.0, 1000) == pytest.approx(500)
    assert gemm_gflops(17.179869184) == pytest.approx(1000)


def test_the_product_is_of_that_side(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], np.dtype[np.float32]]] = []
    monkeypatch.setattr(np, "matmul", lambda left, right, out: seen.append((left.shape, (left @ right).dtype)))
    gemm_call(6)()
    assert seen == [((6, 6), np.dtype(np.float32))]
