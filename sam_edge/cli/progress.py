"""How far long work is: a bar on a terminal, a line a step elsewhere. Both on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from sam_edge.progress import Progress

PARTS = 1000
"""Into how many parts a bar is divided."""


@contextmanager
def progress() -> Iterator[Progress]:
    """What shows how far the work in the block is."""
    if not sys.stderr.isatty():
        yield _lines()
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


def _lines() -> Progress:
    """Writes one line a step."""
    last: str | None = None

    def show(step: str, done: float | None = None) -> None:
        nonlocal last
        if step != last:
            last = step
            click.echo(step, err=True)

    return show
