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


def part_of(progress: Progress, start: float, end: float, step: str | None = None) -> Progress:
    """Progress for a part of the work: its 0 to 1 is `start` to `end` of the whole.

    Args:
        progress: of the whole work.
        start: what share of it is finished when the part begins.
        end: what share is finished when the part ends.
        step: shown in the place of the part's own words; None shows those.
    """

    own = step

    def show(step: str, done: float | None = None) -> None:
        progress(own or step, None if done is None else start + (end - start) * done)

    return show


_: Progress = silent
