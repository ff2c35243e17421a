"""How far long work is: a bar on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import click

from sam_edge.progress import Progress

PARTS = 1000
"""Into how many parts a bar is divided."""
EVERY_S = 5.0
"""Without a terminal, long work says so often how far it is."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Show on standard error how far the work is that is done in this block."""
    if not sys.stderr.isatty():
        yield lines()
        return
    bar = click.progressbar(
        length=PARTS,
        file=sys.stderr,
        item_show_func=lambda step: step,
        show_eta=False,
        update_min_steps=0,
    )
    with bar:

        def show(step: str, done: float | None = None) -> None:
            forward = 0 if done is None else max(0, round(done * PARTS) - bar.pos)
            bar.update(forward, step)

        yield show


def lines(now_s: Callable[[], float] = monotonic) -> Progress:
    """One line for each step, and while one goes on a line every few seconds with the share that is done."""
    last, last_s = "", 0.0

    def show(step: str, done: float | None = None) -> None:
        nonlocal last, last_s
        if step == last and (done is None or now_s() - last_s < EVERY_S):
            return
        click.echo(f"{step} {done:.0%}" if step == last else step, err=True)
        last, last_s = step, now_s()

    return show
