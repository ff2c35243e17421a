"""`sam-edge run`: a video and a gaze recording become masks of what was looked at."""

from __future__ import annotations

import json
import sys

import click

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.cli.options import FiniteRange, model_options
from sam_edge.errors import InputError
from sam_edge.loading import load
from sam_edge.storage.files import check_outputs
from sam_edge.streaming.gaze import read_gaze_csv
from sam_edge.streaming.latency import table
from sam_edge.streaming.replay import Report, replay, stop_on_signals
from sam_edge.streaming.sinks.sink import find_sink
from sam_edge.streaming.sources.source import open_source


@click.command()
@click.argument("source", metavar="INPUT")
@click.argument("outputs", metavar="[OUTPUT]...", nargs=-1)
@click.option("--gaze", required=True, metavar="CSV", help="Columns t_s, x_norm, y_norm, confidence.")
@click.option(
    "--gaze-repair", is_flag=True, help="Holes become blinks, rows without a time go, times are put in order."
)
@click.option(
    "--min-confidence",
    type=FiniteRange(0, 1),
    default=0.6,
    show_default=True,
    help="Gaze below it counts as closed eyes.",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output.")
def run(
    source: str,
    outputs: tuple[str, ...],
    gaze: str,
    gaze_repair: bool,
    min_confidence: float,
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Mask what a gaze recording looks at in INPUT, a video file or scene:SEED.

    Each OUTPUT is a video with the masks drawn in (.mp4, .mkv, .avi) or JSON lines, one a gaze sample
    (.jsonl, or - for standard output). Gaze coordinates 0..1 are scaled to the frame; its first sample meets
    the first frame. Ctrl-C ends the run and keeps what was done.

    \b
    Examples:
      sam-edge run clip.mp4 masks.mp4 masks.jsonl --gaze gaze.csv
      sam-edge run clip.mp4 - --gaze gaze.csv | jq .mask.area
      sam-edge run scene:7 scene.mp4 --gaze gaze.csv --model mobile_sam/
    """
    if as_json and "-" in outputs:
        raise InputError("--json and the output - both want standard output", hint="write one to a file")
    samples = read_gaze_csv(gaze, repair=gaze_repair)
    check_outputs([source, gaze], outputs)
    for name in outputs:
        find_sink(name)
    frames = open_source(source)
    with (
        load(model, runtime=runtime, precision=precision, threads=threads) as segmenter,
        stop_on_signals() as stop,
    ):
        say_engine(segmenter)
        # To standard error and only where someone watches: standard output belongs to the results.
        bar = click.progressbar(
            length=frames.length or 0, label=source, file=sys.stderr, hidden=not sys.stderr.isatty()
        )
        with bar:
            report = replay(
                segmenter,
                frames,
                samples,
                outputs,
                min_confidence=min_confidence,
                stop=stop,
                each=lambda frame_result: bar.update(int(frame_result.last)),
            )
    summary(report, as_json=as_json, to_stderr="-" in outputs)
    return 130 if report.interrupted else 0


def summary(report: Report, *, as_json: bool, to_stderr: bool = False) -> None:
    """Print what a run did, as a table or as JSON."""
    if as_json:
        click.echo(json.dumps(vars(report), indent=2))
        return
    state = "interrupted after " if report.interrupted else ""
    lines = [f"{state}{report.frames} frames, {report.samples} gaze samples, {report.masks} masks"]
    if not report.interrupted and report.frames < (report.expected_frames or 0):
        lines.append(f"note: the source says it has {report.expected_frames} frames; it may be damaged")
    if report.unused_samples and not report.interrupted:
        lines.append(f"note: {report.unused_samples} gaze samples lie outside the video's time")
    click.echo("\n".join([*lines, table(report.latency_ms)]), err=to_stderr)
