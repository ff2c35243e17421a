"""`sam-edge run`: a video and a gaze recording become masks of what was looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import click

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.cli.options import FiniteRange, model_options
from sam_edge.cli.progress import progress
from sam_edge.errors import InputError
from sam_edge.loading import load
from sam_edge.storage.files import check_outputs
from sam_edge.streaming.gaze.clock import UNITS, TimeUnit, check_overlap, choose_clock, to_frame_clock
from sam_edge.streaming.gaze.sample import GazeClock
from sam_edge.streaming.gaze.source import open_gaze
from sam_edge.streaming.latency import table
from sam_edge.streaming.offline import REUSE_DISTANCE
from sam_edge.streaming.replay import Report, replay, stop_on_signals
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.sink import find_sink
from sam_edge.streaming.sources.excerpt import Excerpt
from sam_edge.streaming.sources.source import open_source


@click.command()
@click.argument("source", metavar="INPUT")
@click.argument("outputs", metavar="[OUTPUT]...", nargs=-1)
@click.option(
    "--gaze",
    required=True,
    metavar="CSV",
    help="Columns t_s (seconds), x_norm, y_norm (0 to 1 from the top left of the image), confidence.",
)
@click.option(
    "--gaze-repair", is_flag=True, help="Holes become blinks, rows without a time go, times are put in order."
)
@click.option(
    "--gaze-clock",
    type=click.Choice(["video", "first-sample", "unix"]),
    help="What t_s counts from: the video's 0, the first sample (it meets the first frame), or 1970 (the video "
    "says when it was taken).  [default: video where the first t_s is before its end, else first-sample]",
)
@click.option("--gaze-offset", type=float, default=0.0, metavar="S", help="Seconds to add to t_s besides.")
@click.option(
    "--gaze-unit",
    type=click.Choice(list(UNITS)),
    help="Of t_s.  [default: s, refused where another fits the video's length better]",
)
@click.option(
    "--min-confidence",
    type=FiniteRange(0, 1),
    default=0.6,
    show_default=True,
    help="Gaze below it counts as closed eyes.",
)
@click.option(
    "--reuse-distance",
    type=FiniteRange(0, 1),
    default=REUSE_DISTANCE,
    show_default=True,
    help="Samples on one frame that are not farther apart share a mask; a share of the frame's longer side.",
)
@click.option("--start", type=FiniteRange(0), metavar="S", help="Begin at this second of the video.")
@click.option("--seconds", type=FiniteRange(0, min_open=True), metavar="S", help="Take so much of it.")
@click.option(
    "--rate",
    type=FiniteRange(0.1, 10_000),
    metavar="N",
    help="Frames per second of a raw .h264 or .hevc stream, which has no times.",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output.")
def run(
    source: str,
    outputs: tuple[str, ...],
    gaze: str,
    gaze_repair: bool,
    gaze_clock: GazeClock | None,
    gaze_offset: float,
    gaze_unit: TimeUnit | None,
    min_confidence: float,
    reuse_distance: float,
    start: float | None,
    seconds: float | None,
    rate: float | None,
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Mask what a gaze recording looks at in INPUT, a video file or scene:SEED.

    Each OUTPUT is a video with the masks drawn in (.mp4, .mkv, .avi) or JSON lines, one a gaze sample
    (.jsonl, or - for standard output). Gaze coordinates 0..1 are scaled to the frame. Standard error says which
    clock the gaze is on. Ctrl-C ends the run and keeps what was done.

    \b
    Examples:
      sam-edge run clip.mp4 masks.mp4 masks.jsonl --gaze gaze.csv
      sam-edge run clip.mp4 - --gaze gaze.csv --start 60 --seconds 10 | jq .mask.area
      sam-edge run clip.mp4 masks.mp4 --gaze gaze.csv --gaze-clock first-sample --gaze-offset 0.25
      sam-edge run scene:7 scene.mp4 --gaze gaze.csv --model mobile_sam/
    """
    if as_json and "-" in outputs:
        raise InputError("--json and the output - both want standard output", hint="write one to a file")
    recording = open_gaze(gaze, repair=gaze_repair)
    check_outputs([source, gaze], outputs)
    for name in outputs:
        find_sink(name)
    with closing(open_source(source, rate_hz=rate)) as whole:
        mapping = choose_clock(recording, whole.info, clock=gaze_clock, offset_s=gaze_offset, unit=gaze_unit)
        samples = to_frame_clock(recording, mapping)
        frames = whole if start is None and seconds is None else Excerpt(whole, start, seconds)
        check_overlap(samples, frames.info)
        with (
            load(model, runtime=runtime, precision=precision, threads=threads) as segmenter,
            stop_on_signals() as stop,
        ):
            say_engine(segmenter)
            for sentence in (str(mapping), *frames.info.notes):
                click.echo(sentence, err=True)
            with frame_progress(f"masking {source}", frames.info.length) as each:
                report = replay(
                    segmenter,
                    frames,
                    samples,
                    outputs,
                    min_confidence=min_confidence,
                    reuse_distance=reuse_distance,
                    stop=stop,
                    each=each,
                )
    summary(report, as_json=as_json, to_stderr="-" in outputs)
    return 130 if report.interrupted else 0


@contextmanager
def frame_progress(step: str, length: int | None) -> Iterator[Callable[[FrameResult], None]]:
    """What to call with each result of a run over `length` frames, to show on standard error how far it is."""
    done = 0
    # To standard error: standard output belongs to the results.
    with progress() as bar:

        def each(frame_result: FrameResult) -> None:
            nonlocal done
            done += frame_result.last
            bar(step, min(1.0, done / length) if length else 0.0)

        yield each


def summary(report: Report, *, as_json: bool, to_stderr: bool = False) -> None:
    """Print what a run did, as a table or as JSON; what was lost goes to standard error as well."""
    warnings = []
    if report.lost_frames:
        lost, expected = report.lost_frames, report.expected_frames
        of = f" of about {expected}" if expected else ""
        warnings.append(f"note: {lost} frames{of} could not be read; the video is damaged")
    if report.unused_samples:
        warnings.append(f"note: {report.unused_samples} gaze samples lie outside the time of the frames")
    for warning in warnings:
        click.echo(warning, err=True)
    if as_json:
        click.echo(json.dumps(vars(report), indent=2))
        return
    state = "interrupted after " if report.interrupted else ""
    reused = f" ({report.reused_masks} shared)" if report.reused_masks else ""
    line = (
        f"{state}{report.frames} frames, {report.encoded_frames} of them encoded; "
        f"{report.samples} gaze samples, {report.masks} masks{reused}"
    )
    click.echo(f"{line}\n{table(report.latency_ms)}", err=to_stderr)
