"""TensorRT's nested phases as one share that only grows, and a way to stop the builder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .builder_api import BuilderModule

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """How far a tree of phases is. A phase's step is as far as the phase inside it."""

    def __init__(self) -> None:
        self._open: dict[str, _Phase] = {}
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._open[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, index: int) -> None:
        """Step `index` (from 0) of the phase is done."""
        if name in self._open:
            self._open[name].done = index + 1

    def finish(self, name: str) -> None:
        self._open.pop(name, None)

    def share(self) -> float:
        """The share that is done, 0..1; never less than it was."""
        roots = [name for name, phase in self._open.items() if phase.parent not in self._open]
        if roots:
            self._share = max(self._share, min(sum(map(self._done, roots)) / len(roots), 1.0))
        return self._share

    def _done(self, name: str) -> float:
        phase = self._open[name]
        inside = [self._done(other) for other, item in self._open.items() if item.parent == name]
        return min(phase.done + (sum(inside) / len(inside) if inside else 0.0), phase.steps) / phase.steps


def make_monitor(trt: BuilderModule, progress: Progress) -> Any:
    """An IProgressMonitor that reports to `progress`.

    An exception, Ctrl-C above all, must not cross the builder's C++: it is kept as `stopped_by`, and the
    builder is asked to stop.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]  # the base is a value, known here
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = Phases()
            self.stopped_by: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._guard(self.phases.start, phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            self._guard(self.phases.finish, phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._guard(self.phases.step, phase_name, step)
            self._guard(self._report)
            return self.stopped_by is None

        def _report(self) -> None:
            progress(self.phases.share())

        def _guard(self, call: Callable[..., None], *arguments: Any) -> None:
            try:
                call(*arguments)
            except BaseException as error:
                self.stopped_by = self.stopped_by or error

    return Monitor()
