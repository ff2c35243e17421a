"""How far TensorRT's builder is, and a way to stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .api import TensorRtModule

ShowShare = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""


def make_monitor(trt: TensorRtModule, show: ShowShare) -> Any:
    """An IProgressMonitor that reports the steps of the outermost phase to `show`; the share only grows.

    An exception, Ctrl-C above all, must not cross the builder's C++: it is kept as `stopped_by`, and the
    builder is asked to stop.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]  # the base is a value, known here
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.share = 0.0
            self.stopped_by: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.steps[phase_name] = max(num_steps, 1)

        def phase_finish(self, phase_name: str) -> None:
            """Its last step has said so."""

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if phase_name in self.steps:
                    self.share = max(self.share, min((step + 1) / self.steps[phase_name], 1.0))
                    show(self.share)
            except BaseException as error:
                self.stopped_by = self.stopped_by or error
            return self.stopped_by is None

    return Monitor()
