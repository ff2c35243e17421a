"""How far long work is: one callable, told by whoever works, shown by whoever asked for the work."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows how far long work is."""

    def __call__(self, step: str, done: float | None = None) -> None:
        """Show what begins or goes on now.

        Args:
            step: a few words, such as "building decoder". The same words again are the same step.
            done: the share of the whole work that is finished, 0 to 1; None where it is not known.
        """
        ...


def silent(step: str, done: float | None = None) -> None:
    """Show nothing."""


_: Progress = silent
