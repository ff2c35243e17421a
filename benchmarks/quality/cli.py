"""`sam-edge eval`: how good a model's masks are, on labelled images."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from sam_edge.cli.options import FiniteRange, runtime_option
from sam_edge.errors import InputError
from sam_edge.imaging.image import check_image_name
from sam_edge.lazy import named_extras
from sam_edge.loading import load
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import check_outputs, write_bytes

from .boxes import evaluate_ap, evaluate_boxes, read_detections
from .candidates import Baseline, Candidate
from .gaze_noise import evaluate_gaze_noise
from .labelled import DataSet, open_datasets
from .points import MAX_CLICKS, First, PointProtocol, evaluate_points
from .scores import Row, report, table
from .sheet import write_sheet
from .video import evaluate_video

CHOICES = ("grabcut", "slic", "floodfill", "disc")
Number = TypeVar("Number", int, float)


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


@click.group()
def evaluate() -> None:
    """Measure a model's masks on labelled images.

    Each DATA is FOLDER or FOLDER:SPLIT with FOLDER/images/SPLIT/*.jpg and FOLDER/labels/SPLIT/*.png. A label
    image, grey or with a palette, has 0 where nothing is labelled and a positive number for each object.
    Intervals are 95 % bootstrap intervals over images.

    \b
    Examples:
      sam-edge eval points coco:val davis2016 --sheet points.png
      sam-edge eval points coco:val --baseline slic --baseline grabcut --limit 40
      sam-edge eval gaze-noise coco:val --degrees 0,1,2,3
      sam-edge eval boxes coco:val --ap
      sam-edge eval video davis2016
    """


def _common(command: Callable[..., Any], *, videos: bool = False) -> Callable[..., Any]:
    """Options of every evaluation, as one Setup; with `videos` --limit takes images that follow one another."""

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


def _check_field(name: str | None, known: set[str]) -> None:
    if name is not None and name not in known:
        raise InputError(f"no object has the field {name!r}", hint=f"choose one of {', '.join(sorted(known))}")


def _listed(kind: Callable[[str], Number], words: str, least: Number) -> Callable[..., tuple[Number, ...]]:
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


_seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)


@evaluate.command(short_help="One point after the other, where the mask is most wrong.")
@_common
@click.option(
    "--counts",
    callback=_listed(int, "whole numbers", 1),
    default="1,2,3,5,9",
    show_default=True,
    help="Numbers of points; nano takes 20 at most, an exported model 10, or what export --max-points said.",
)
@click.option("--first", type=click.Choice(["centre", "random"]), default="centre", show_default=True)
@click.option(
    "--feedback/--no-feedback",
    default=True,
    show_default=True,
    help="Whether the logits of an answer go into the next prompt.",
)
@click.option("--noc", is_flag=True, help="Count the clicks to IoU 0.80, 0.85, 0.90. Not reached counts as 20.")
@_seed
def points(setup: Setup, counts: tuple[int, ...], first: First, feedback: bool, noc: bool, seed: int) -> None:
    """IoU after 1, 2, 3, ... points, each where the answer before it was most wrong.

    \b
    Examples:
      sam-edge eval points coco:val
      sam-edge eval points coco:val --counts 1 --first random --group-by size
    """
    protocol = PointProtocol(counts, first, feedback, noc, seed)

    def rows(candidate: Candidate, each: Callable[[], None]) -> list[Row]:
        if noc and candidate.max_points < MAX_CLICKS:
            click.echo(
                f"note: this model takes {candidate.max_points} points: an IoU not reached with them counts as "
                f"{MAX_CLICKS} clicks; sam-edge export --max-points {MAX_CLICKS} makes a model that takes more",
                err=True,
            )
        return evaluate_points(candidate, setup.datasets, protocol, each)

    _run(setup, rows, f"{min(counts)}_point")


@evaluate.command("gaze-noise", short_help="One point, as imprecise as eye trackers are.")
@_common
@click.option(
    "--degrees",
    callback=_listed(float, "numbers", 0.0),
    default="0,0.5,1,2,3",
    show_default=True,
    help="Pointing errors.",
)
@click.option("--px-per-degree", type=FiniteRange(0, min_open=True), help="[default: long side / 103]")
@_seed
def gaze_noise(setup: Setup, degrees: tuple[float, ...], px_per_degree: float | None, seed: int) -> None:
    """IoU of one point that is off by some degrees, as eye trackers are.

    \b
    Examples:
      sam-edge eval gaze-noise coco:val davis2016
    """

    def rows(candidate: Candidate, each: Callable[[], None]) -> list[Row]:
        return evaluate_gaze_noise(
            candidate, setup.datasets, each, degrees=degrees, px_per_degree=px_per_degree, seed=seed
        )

    _run(setup, rows, f"{degrees[0]:g}_deg")


@evaluate.command(short_help="Boxes, and COCO's mask AP.")
@_common
@click.option("--ap", is_flag=True, help="COCO mask AP as well.")
@click.option("--detections", type=Path, help="A detector's boxes for --ap: JSON with image, bbox, ...")
def boxes(setup: Setup, ap: bool, detections: Path | None) -> None:
    """IoU of box prompts, each object's own box; with --ap COCO's mask AP.

    \b
    Examples:
      sam-edge eval boxes coco:val --group-by size
      sam-edge eval boxes coco:val --ap --detections boxes.json
    """
    if detections and not ap:
        raise InputError("--detections are for the average precision", hint="add --ap")
    found = read_detections(detections) if detections else None

    def extra(candidate: Candidate) -> dict[str, Any]:
        if not ap:
            return {}
        scores = {}
        for dataset in setup.datasets:
            with _progress(f"AP {dataset.name}", len(dataset)) as each:
                scores[dataset.name] = evaluate_ap(candidate, dataset, each, found)
        return {"coco_ap": scores}

    _run(setup, lambda candidate, each: evaluate_boxes(candidate, setup.datasets, each), "single", extra)


@evaluate.command(short_help="Videos that a simulated gaze follows, and flicker.")
@partial(_common, videos=True)
@click.option("--error", type=FiniteRange(0), default=0.5, show_default=True, help="Pointing error, degrees.")
@_seed
def video(setup: Setup, error: float, seed: int) -> None:
    """IoU of every frame of a video that a simulated gaze follows, and flicker.

    \b
    Examples:
      sam-edge eval video davis2016 --group-by sequence
    """

    def rows(candidate: Candidate, each: Callable[[], None]) -> list[Row]:
        return evaluate_video(candidate, setup.datasets, each, error_deg=error, seed=seed)

    _run(setup, rows, "iou")


def _run(
    setup: Setup,
    measure: Callable[[Candidate, Callable[[], None]], list[Row]],
    sort_by: str,
    extra: Callable[[Candidate], dict[str, Any]] = lambda candidate: {},
) -> None:
    """Measure the model and every baseline; print, write and draw the results."""
    total = sum(len(dataset) for dataset in setup.datasets)
    document: dict[str, Any] = {}
    rows: dict[str, list[Row]] = {}
    with setup.open_model() as segmenter:
        model = segmenter.manifest.model_id
        for name, candidate in {model: segmenter, **setup.baselines}.items():
            with _progress(name, total) as each:
                rows[name] = measure(candidate, each)
            document[name] = report(rows[name], setup.group_by) | extra(candidate)
            if setup.json_to != "-":
                click.echo(_text(name, document[name]))
        _write(document, setup.json_to)
        # Last: the numbers took hours, and are safe by now.
        if setup.sheet:
            write_sheet(setup.sheet, segmenter, setup.datasets, rows[model], sort_by)


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


@contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[], None]]:
    bar = click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
    with bar:
        yield lambda: bar.update(1)
