"""How far long work is: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click

PER_CENT = 100


class Progress(Protocol):
    """Shows how far the work is, on standard error."""

    def say(self, step: str) -> None:
        """Show what begins now."""
        ...

    def advance(self, count: int = 1) -> None:
        """So many parts more are done."""
        ...

    def show(self, step: str, done: float) -> None:
        """Show what begins now, and the share of the work that is done, 0..1."""
        ...


@contextmanager
def progress(length: int = PER_CENT) -> Iterator[Progress]:
    """Show work of `length` parts while the block runs."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = click.progressbar(
        length=length,
        file=sys.stderr,
        item_show_func=lambda step: step,
        show_eta=False,
        update_min_steps=0,
    )
    with bar:
        yield Bar(bar)


class Lines:
    """One line a step."""

    def __init__(self) -> None:
        self._said: str | None = None

    def say(self, step: str) -> None:
        if step != self._said:
            self._said = step
            click.echo(step, err=True)

    def advance(self, count: int = 1) -> None:
        """Parts are no steps."""

    def show(self, step: str, done: float) -> None:
        self.say(step)


class Bar:
    """A bar with the step beside it."""

    def __init__(self, bar: Any) -> None:
        # What click.progressbar answers: its class has no public name.
        self._bar = bar

    def say(self, step: str) -> None:
        self._bar.update(0, step)

    def advance(self, count: int = 1) -> None:
        self._bar.update(count, self._bar.current_item)

    def show(self, step: str, done: float) -> None:
        self._bar.update(round(done * (self._bar.length or 0)) - self._bar.pos, step)
