"""Engines that are wrong on purpose, and what the gate says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Precision
from sam_edge.errors import FidelityError
from sam_edge.fidelity import gate
from sam_edge.fidelity.gate import Reference
from sam_edge.fidelity.result import LIMITS
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.session import Session, SessionLoader, Wrapper
from sam_edge.tensors import Arrays

Change = Callable[[dict[str, np.ndarray]], None]


class Broken(Wrapper):
    """An engine whose feeds and answers are spoilt on the way."""

    def __init__(self, engine: Session, spoil_feeds: Change, spoil_answers: Change) -> None:
        super().__init__(engine)
        self._spoil_feeds, self._spoil_answers = spoil_feeds, spoil_answers

    def run(self, feeds: Arrays) -> Arrays:
        given = {name: np.array(value) for name, value in feeds.items()}
        self._spoil_feeds(given)
        answers = {name: np.array(value) for name, value in super().run(given).items()}
        self._spoil_answers(answers)
        return answers


def nothing(arrays: dict[str, np.ndarray]) -> None:
    """Spoils nothing."""


def judged(
    bundle: Bundle, loader: SessionLoader, expected: Sequence[Reference], precision: Precision = "fp16"
) -> list[str]:
    """What the limits, by default fp16's, the wider ones, say against an engine."""
    with Segmenter(bundle, loader) as segmenter:
        found = gate.measure(segmenter, expected)
    violations: list[str] = found.violations(LIMITS[precision])
    if violations:
        with pytest.raises(FidelityError, match="differs from the model"):
            gate.check(found, EngineSpec("broken", precision))
        assert found.judged(LIMITS[precision], against_onnx=True).passed is False
    return violations
