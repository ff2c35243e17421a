"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from sam_edge.bundle.manifest import PRECISIONS
from sam_edge.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A FloatRange that refuses NaN, which compares with no end of a range, and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Width and height of WxH, which `option` was given.

    Raises:
        InputError: it is not of that form.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"{option} {text!r} is not of the form WxH, such as 1024x576")
    return int(width), int(height)


runtime_option = click.option(
    "--runtime",
    metavar="NAME[:DEVICE]",
    help="Such as onnxruntime or onnxruntime:cuda.  [default: the best here, see sam-edge doctor]",
)


def model_options(command: Command) -> Command:
    """--model, --runtime, --precision and --threads: which engine computes."""
    for option in (
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="Cores an engine may use.  [default: all]"
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="[default: fp16 where the model was exported so for the runtime]",
        ),
        runtime_option,
        click.option(
            "--model", default="nano", show_default=True, help="A shipped model, or an exported folder."
        ),
    ):
        command = option(command)
    return command
