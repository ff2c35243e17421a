"""`sam-edge run`: what is looked at in a video or before a camera becomes masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace

import click

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.cli.live import failed, live_summary, only_for, watch
from sam_edge.cli.options import FiniteRange, model_options
from sam_edge.cli.progress import progress
from sam_edge.cli.repeat import is_recorded, repeat
from sam_edge.errors import InputError
from sam_edge.loading import load
from sam_edge.storage.files import check_outputs
from sam_edge.streaming.gaze.clock import UNITS, TimeUnit, check_overlap, choose_clock, to_frame_clock
from sam_edge.streaming.gaze.sample import GazeClock, GazeSample
from sam_edge.streaming.gaze.source import open_gaze, open_live_gaze
from sam_edge.streaming.latency import table
from sam_edge.streaming.live.api import stream
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.offline import REUSE_DISTANCE
from sam_edge.streaming.replay import Report, replay, stop_on_signals
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.mcap_file import split_record
from sam_edge.streaming.sinks.sink import find_sink
from sam_edge.streaming.sources.excerpt import Excerpt
from sam_edge.streaming.sources.live.gstreamer import pipeline_text
from sam_edge.streaming.sources.source import open_source


@click.command()
@click.argument("source", metavar="INPUT")
@click.argument("outputs", metavar="[OUTPUT]...", nargs=-1)
@click.option(
    "--gaze",
    metavar="GAZE",
    help="A recording (CSV with t_s, x_norm, y_norm, confidence; an export of Neon, Core or Tobii), or a "
    "tracker that runs now, such as neon://neon.local, lsl:, udp://0.0.0.0:5555.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Play a recording in real time: what is late is skipped. Cameras and trackers always run so.",
)
@click.option("--config", metavar="TOML", help="Thresholds and limits of live runs, see docs/streaming.md.")
@click.option(
    "--record",
    metavar="MCAP",
    help="Keep all that is needed to repeat a live run; MCAP?frames=jpeg is smaller.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be opened (the pipeline of csi: and gst:), and stop."
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
    help="Gaze below it counts as closed eyes.  [default: 0.6, live what --config says]",
)
@click.option(
    "--reuse-distance",
    type=FiniteRange(0, 1),
    help="Samples on one frame that are not farther apart share a mask; a share of the frame's longer side.  "
    f"[default: {REUSE_DISTANCE}]",
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
    gaze: str | None,
    live: bool,
    config: str | None,
    record: str | None,
    dry_run: bool,
    gaze_repair: bool,
    gaze_clock: GazeClock | None,
    gaze_offset: float,
    gaze_unit: TimeUnit | None,
    min_confidence: float | None,
    reuse_distance: float | None,
    start: float | None,
    seconds: float | None,
    rate: float | None,
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Mask what is looked at in INPUT.

    INPUT is a camera (0, /dev/video0, csi://0), a stream (rtsp://..., http://...), a video file, a folder of
    images, scene:SEED, or a run kept with --record, which is repeated to the bit. Each OUTPUT is a video with
    the masks drawn in (.mp4, .mkv, .avi), JSON lines (.jsonl, or - for standard output), .mcap for Foxglove, or
    .rrd for Rerun.

    A recording with recorded gaze is worked through sample by sample, as fast as it goes, and every sample gets
    its mask. Cameras, trackers, and anything with --live, run in real time: the newest frame and the newest
    look count, and every mask says how old it is. Ctrl-C ends the run and keeps what was done.

    \b
    Examples:
      sam-edge run clip.mp4 masks.mp4 masks.jsonl --gaze gaze.csv
      sam-edge run clip.mp4 - --gaze gaze.csv --start 60 --seconds 10 | jq .mask.area
      sam-edge run 0 seen.mp4 --gaze neon://neon.local
      sam-edge run rtsp://camera/live - --gaze udp://127.0.0.1:5555 --seconds 60
      sam-edge run scene:7 scene.mp4 --gaze gaze.csv --live --record session.mcap
      sam-edge run session.mcap again.jsonl
      sam-edge run csi://0 --gaze lsl: --dry-run
    """
    if as_json and "-" in outputs:
        raise InputError("--json and the output - both want standard output", hint="write one to a file")
    if dry_run:
        click.echo(pipeline_text(source) or f"{source} is opened without a pipeline")
        return 0
    kept = split_record(record)[0] if record else None
    check_outputs([name for name in (source, gaze) if name], [*outputs, kept])
    for name in outputs:
        find_sink(name)
    if gaze is None and is_recorded(source):
        unfit = any((live, config, record, start, seconds, rate))
        return repeat(source, outputs, model, runtime, precision, threads, as_json=as_json, unfit=unfit)
    settings = StreamConfig.read(config) if config else StreamConfig()
    if min_confidence is not None:
        settings = replace(settings, gaze=replace(settings.gaze, min_confidence=min_confidence))
    tracker = open_live_gaze(gaze) if gaze else None
    recording = open_gaze(gaze, repair=gaze_repair) if gaze and tracker is None else None
    with (
        closing(tracker) if tracker is not None else nullcontext(),
        closing(open_source(source, rate_hz=rate)) as whole,
    ):
        runs_now = live or whole.info.live or tracker is not None
        only_for("live runs", runs_now, record=record, config=config)
        only_for("recordings that are not played live", not runs_now, reuse_distance=reuse_distance)
        own = {"gaze_clock": gaze_clock, "gaze_unit": gaze_unit, "gaze_offset": gaze_offset}
        only_for("recorded gaze", recording is not None, gaze_repair=gaze_repair, **own)
        if gaze is None and not runs_now:
            raise InputError("no gaze to follow", hint="give --gaze with a recording, or a tracker's address")
        frames = whole
        if not whole.info.live and (start is not None or seconds is not None):
            frames = Excerpt(whole, start, seconds)
        samples: list[GazeSample] = []
        if recording is not None:
            if whole.info.live:
                raise InputError(
                    f"{gaze} is a recording, and {source} runs now",
                    hint="give a tracker, such as neon://neon.local",
                )
            mapping = choose_clock(
                recording, whole.info, clock=gaze_clock, offset_s=gaze_offset, unit=gaze_unit
            )
            samples = to_frame_clock(recording, mapping)
            check_overlap(samples, frames.info)
            notes = (str(mapping), *frames.info.notes)
        else:
            blind = () if tracker is not None else ("no gaze: only objects that are told are masked",)
            notes = (*frames.info.notes, *blind)
        with (
            load(model, runtime=runtime, precision=precision, threads=threads) as segmenter,
            stop_on_signals() as stop,
        ):
            say_engine(segmenter)
            for sentence in notes:
                click.echo(sentence, err=True)
            if runs_now:
                running = stream(
                    frames,
                    tracker if recording is None else samples,
                    model=segmenter,
                    config=settings,
                    sinks=outputs,
                    record=record,
                )
                # An excerpt ends by itself; how long a camera runs is up to the clock.
                limit = seconds if whole.info.live else None
                summed = watch(running, f"masking {source}", stop, limit)
                live_summary(running, summed, as_json=as_json, to_stderr="-" in outputs)
                return 130 if stop.is_set() else 2 * failed(running)
            with frame_progress(f"masking {source}", frames.info.length) as each:
                report = replay(
                    segmenter,
                    frames,
                    samples,
                    outputs,
                    min_confidence=settings.gaze.min_confidence,
                    reuse_distance=REUSE_DISTANCE if reuse_distance is None else reuse_distance,
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
