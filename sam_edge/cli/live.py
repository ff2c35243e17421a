"""A live run, as `run` and `demo` show it: progress with rates and ages, and a summary."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from threading import Event
from time import monotonic

import click

from sam_edge.cli.progress import EVERY_S, progress
from sam_edge.errors import InputError
from sam_edge.streaming.latency import table
from sam_edge.streaming.live.report import StreamReport
from sam_edge.streaming.live.stream import Stream

LOOK_S = 0.25
"""So often the progress is shown again."""


def watch(running: Stream, step: str, stop: Event, seconds: float | None) -> StreamReport:
    """Wait until a stream ends, `stop` is set or so many seconds have passed, and show how it goes; then close
    it.

    Args:
        running: closed when this returns.
        step: what is being done, such as "masking 0".
        stop: set by Ctrl-C and the like.
        seconds: how long to run; None: until the source ends.
    """
    began, told = monotonic(), 0.0
    # A line every few seconds where there is no terminal to write over one.
    every_s = LOOK_S if sys.stderr.isatty() else EVERY_S
    with running, progress() as bar:
        while not running.is_closed and not stop.wait(LOOK_S):
            since = monotonic() - began
            if seconds is not None and since >= seconds:
                break
            if since - told >= every_s:
                told = since
                bar(f"{step}: {_going(running.report())}", min(1.0, since / seconds) if seconds else None)
        report = running.report()
    return report


def live_summary(running: Stream, report: StreamReport, *, as_json: bool, to_stderr: bool = False) -> None:
    """Print what a stream did, as a table or as JSON; what was lost goes to standard error as well."""
    for sink in running.sink_reports:
        if str(sink):
            click.echo(f"note: {sink}", err=True)
    if report.reconnects or report.last_failure:
        why = f": {report.last_failure}" if report.last_failure else ""
        click.echo(f"note: a source was opened again {report.reconnects} times{why}", err=True)
    for what, count in {**report.dropped, **report.errors}.items():
        click.echo(f"note: {count} x {what}", err=True)
    if as_json:
        sinks = {
            sink.name: {"lost_results": sink.lost_results, "lost_frames": sink.lost_frames}
            for sink in running.sink_reports
        }
        rates = {"encodes_per_s": report.encodes_per_s, "decodes_per_s": report.decodes_per_s}
        click.echo(json.dumps({**asdict(report), **rates, "sinks": sinks}, indent=2))
        return
    shown = ", ".join(f"{count} {kind}" for kind, count in report.results.items()) or "none"
    click.echo(
        f"{report.seconds:.1f} s: {report.frames} frames ({report.skipped_frames} skipped), "
        f"{report.encoded_frames} encoded ({report.encodes_per_s:.1f}/s); {report.gaze_samples} gaze samples, "
        f"{report.decodes} decoded ({report.decodes_per_s:.1f}/s); {shown}\n{table(report.latency_ms)}",
        err=to_stderr,
    )


def only_for(what: str, fits: bool, **given: object) -> None:
    """Refuse options that would change nothing.

    Args:
        what: they are for, such as "live runs".
        fits: whether this is such a run.
        given: name -> value; what was not given is None, 0 or False.

    Raises:
        InputError: naming the first that was given.
    """
    for name, value in given.items():
        if value and not fits:
            raise InputError(f"--{name.replace('_', '-')} is for {what}", hint="leave it out")


def failed(running: Stream) -> bool:
    """Whether an output could not be written to its end."""
    return any(sink.error is not None for sink in running.sink_reports)


def _going(report: StreamReport) -> str:
    """Such as "27.4 frames/s, 48.1 masks/s, gaze to mask 11 ms, frame age 62 ms"."""
    words = [f"{report.encodes_per_s:.1f} frames/s", f"{report.decodes_per_s:.1f} masks/s"]
    for name, stage in (("gaze to mask", "gaze_to_mask"), ("frame age", "embedding_age")):
        if stage in report.latency_ms:
            words.append(f"{name} {report.latency_ms[stage]['p50']:.0f} ms")
    return ", ".join(words)
