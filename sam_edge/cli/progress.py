"""How far long work is: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

import click

PER_CENT = 100
EVERY_S = 5.0
"""Without a terminal, long work says so often how far it is."""


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
    """One line a step, and while one goes on a line every few seconds."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self._now_s = now_s
        self._said: str | None = None
        self._said_s = 0.0

    def say(self, step: str) -> None:
        if step != self._said:
            self._write(step, step)

    def advance(self, count: int = 1) -> None:
        """Parts have no words."""

    def show(self, step: str, done: float) -> None:
        if step == self._said and self._now_s() - self._said_s >= EVERY_S:
            self._write(step, f"{step} {done:.0%}")
        self.say(step)

    def _write(self, step: str, line: str) -> None:
        self._said, self._said_s = step, self._now_s()
        click.echo(line, err=True)


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
