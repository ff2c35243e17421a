"""A machine whose rate is read quickly, and known times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pytest

from sam_edge.benchmarks.speed import decoder, encoder, stages
from sam_edge.benchmarks.speed.timing import gemm_call


@pytest.fixture
def quick_gemm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's rate is read off a small product: it says nothing, and takes no second."""
    for module in (decoder, encoder, stages):
        monkeypatch.setattr(module, "gemm_call", partial(gemm_call, 64))


@pytest.fixture
def known_ms(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, float]], None]:
    """Makes benchmarks find these milliseconds, by name."""

    def install(milliseconds: Mapping[str, float]) -> None:
        for module in (decoder, encoder, stages):
            monkeypatch.setattr(
                module, "interleaved_ms", lambda calls, rounds: {name: milliseconds[name] for name in calls}
            )

    return install
