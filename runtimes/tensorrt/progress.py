"""TensorRT's nested phases as one share that only grows, and a way to stop the builder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .builder_api import BuilderModule

ShowShare = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""


class Phases:
    """How far the builder is. A phase's step is as far as the phase inside it."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, int]] = {}
        """Phase -> steps done and in all, the outermost first."""
        self._share = 0.0

    def start(self, name: str, steps: int) -> None:
        self._open[name] = (0, max(steps, 1))

    def step(self, name: str, index: int) -> None:
        """Step `index` (from 0) of the phase is done."""
        if name in self._open:
            self._open[name] = (index + 1, self._open[name][1])

    def finish(self, name: str) -> None:
        self._open.pop(name, None)

    def share(self) -> float:
        """The share that is done, 0..1; never less than it was."""
        inside = 0.0
        for done, steps in reversed(self._open.values()):
            inside = min(done + inside, steps) / steps
        self._share = max(self._share, inside)
        return self._share


def make_monitor(trt: BuilderModule, show: ShowShare) -> Any:
    """An IProgressMonitor that reports to `show`.

    An exception, Ctrl-C above all, must not cross the builder's C++: it is kept as `stopped_by`, and the
    builder is asked to stop.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]  # the base is a value, known here
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = Phases()
            self.stopped_by: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases.start(phase_name, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            self.phases.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                self.phases.step(phase_name, step)
                show(self.phases.share())
            except BaseException as error:
                self.stopped_by = self.stopped_by or error
            return self.stopped_by is None

    return Monitor()
