"""What every evaluation of `sam-edge eval` shares: its options, and measuring, printing, writing and
drawing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from sam_edge.cli.options import runtime_option
from sam_edge.cli.progress import progress
from sam_edge.errors import InputError
from sam_edge.imaging.image import check_image_name
from sam_edge.lazy import named_extras
from sam_edge.loading import load
from sam_edge.progress import Progress
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import check_outputs, write_bytes

from .candidates import Baseline, Candidate
from .labelled import DataSet, open_datasets
from .scores import Row, report, table
from .sheet import write_sheet

CHOICES = ("grabcut", "slic", "floodfill", "disc")
Number = TypeVar("Number", int, float)
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)


@dataclass(frozen=True)
class Setup:
    """What every evaluation needs to know."""

    datasets: Sequence[DataSet]
    open_model: Callable[[], Segmenter]
    baselines: dict[str, Candidate]
    """By name."""
    group_by: str | None
    json_to: str | None
    sheet: Path | None


def evaluation(command: Callable[..., Any], *, videos: bool = False) -> Callable[..., Any]:
    """The options of every evaluation, handed to the command as one Setup.

    Args:
        command: takes a Setup and options of its own.
        videos: --limit takes images that follow one another.
    """

    @wraps(command)
    def prepared(
        data: tuple[str, ...],
        model: str,
        runtime: str | None,
        threads: int | None,
        baseline: tuple[str, ...],
        limit: int | None,
        min_area: int,
        group_by: str | None,
        json_to: str | None,
        sheet: Path | None,
        **options: Any,
    ) -> None:
        # Measuring takes hours: whatever can be refused is refused before it.
        check_outputs([*data, options.get("detections")], (json_to, sheet))
        if sheet is not None:
            check_image_name(sheet)
        with named_extras():
            baselines: dict[str, Candidate] = {name: Baseline(name) for name in baseline}
        datasets = open_datasets(data, min_area_px=min_area, limit=limit, runs=videos)
        _check_field(group_by, set().union(*(dataset.fields for dataset in datasets), ["sequence"] * videos))
        open_model = partial(load, model, runtime=runtime, threads=threads)
        command(Setup(datasets, open_model, baselines, group_by, json_to, sheet), **options)

    made: Callable[..., Any] = prepared
    for option in (
        click.argument("data", nargs=-1, required=True),
        click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder."),
        runtime_option,
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="Cores an engine may use.  [default: all]"
        ),
        click.option(
            "--baseline", multiple=True, type=click.Choice(CHOICES), help="Measured beside the model."
        ),
        click.option(
            "--limit",
            type=click.IntRange(1),
            help="Images of each set, spread evenly; of videos, the first ones of each.",
        ),
        click.option(
            "--min-area",
            type=click.IntRange(1),
            default=1024,
            show_default=True,
            help="Smaller objects are left out, px.",
        ),
        click.option(
            "--group-by", metavar="FIELD", help="Such as size, category, split: results of each group."
        ),
        click.option("--json", "json_to", metavar="FILE|-", help="The results, intervals included."),
        click.option("--sheet", type=Path, help="Best, median and worst answers as an image."),
    ):
        made = option(made)
    return made


def listed(kind: Callable[[str], Number], words: str, least: Number) -> Callable[..., tuple[Number, ...]]:
    """An option's callback: numbers of a kind from `least`, separated by commas."""

    def parsed(ctx: click.Context, param: click.Parameter, text: str) -> tuple[Number, ...]:
        try:
            numbers = tuple(kind(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(least <= number < float("inf") for number in numbers):
            raise InputError(
                f"{param.opts[0]} {text!r}", hint=f"give {words} from {least:g}, separated by commas"
            )
        return numbers

    return parsed


def run(
    setup: Setup,
    measure: Callable[[Candidate, Progress], list[Row]],
    sort_by: str,
    extra: Callable[[Candidate, Progress], dict[str, Any]] = lambda candidate, progress: {},
) -> None:
    """Measure the model and every baseline; print, write and draw the results."""
    document: dict[str, Any] = {}
    rows: dict[str, list[Row]] = {}
    with setup.open_model() as segmenter:
        model = segmenter.manifest.model_id
        for name, candidate in {model: segmenter, **setup.baselines}.items():
            with progress() as shown:
                rows[name] = measure(candidate, shown)
                document[name] = report(rows[name], setup.group_by) | extra(candidate, shown)
            if setup.json_to != "-":
                click.echo(_text(name, document[name]))
        _write(document, setup.json_to)
        # Last: the numbers took hours, and are safe by now.
        if setup.sheet:
            write_sheet(setup.sheet, segmenter, setup.datasets, rows[model], sort_by)


def _check_field(name: str | None, known: set[str]) -> None:
    if name is not None and name not in known:
        raise InputError(f"no object has the field {name!r}", hint=f"choose one of {', '.join(sorted(known))}")


def _text(name: str, results: dict[str, Any]) -> str:
    """The results of a candidate as text."""
    lines = [name, table(results)]
    for dataset, scores in results.get("coco_ap", {}).items():
        numbers = "  ".join(f"{score} {value:.3f}" for score, value in scores.items())
        lines.append(f"COCO mask AP on {dataset}: {numbers}")
    return "\n".join(lines)


def _write(document: dict[str, Any], json_to: str | None) -> None:
    text = json.dumps(document, indent=2) + "\n"
    if json_to == "-":
        click.echo(text, nl=False)
    elif json_to:
        write_bytes(json_to, text.encode())
