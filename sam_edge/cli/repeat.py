"""`sam-edge run session.mcap`: a recorded run once more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict

import click

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.errors import InputError
from sam_edge.loading import load
from sam_edge.streaming.latency import table
from sam_edge.streaming.replay import stop_on_signals
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.replay import Repeated, Session
from sam_edge.streaming.sinks.sink import FullDiskError, RunSink, find_sink


def is_recorded(source: str) -> bool:
    """Whether a source's name is that of a recording which may be repeated."""
    return source.lower().endswith(".mcap")


def repeat(
    source: str,
    outputs: Sequence[str],
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    *,
    as_json: bool,
    unfit: bool = False,
) -> int:
    """Repeat the run that `source` holds, write what it gives, and say whether it is the same.

    Args:
        unfit: there are options that only another run could heed.

    Returns:
        The exit code: 1 where results differ that should not.

    Raises:
        InputError: no recorded run, or one of another model.
        OutputError: an output cannot be written.
    """
    if unfit:
        raise InputError(f"{source} is repeated as it was recorded", hint="give --gaze for a run of its own")
    session = Session(source)
    with load(model, runtime=runtime, precision=precision, threads=threads) as segmenter, ExitStack() as stack:
        # Before any output is begun.
        expected = session.facts.check(segmenter, source)
        say_engine(segmenter)
        stop = stack.enter_context(stop_on_signals())
        facts = session.facts
        sinks = [stack.enter_context(find_sink(name)(name, facts.frame_wh, facts.fps)) for name in outputs]
        for sink in sinks:
            if isinstance(sink, RunSink):
                sink.describe({"model": facts.model, "config": repr(facts.config)})
        refused: list[Exception] = []

        def write(part: FrameResult) -> None:
            if refused:
                return
            try:
                for sink in sinks:
                    sink.write(part)
            except Exception as error:  # this is the decoder's thread: raised again below
                refused.append(error)
                stop.set()

        repeated = session.repeat(segmenter, write, stop=stop)
        if refused and not isinstance(refused[0], (BrokenPipeError, FullDiskError)):
            raise refused[0]
    for note in (*repeated.notes, *map(str, refused)):
        click.echo(f"note: {note}", err=True)
    _sum_up(repeated, as_json=as_json, to_stderr="-" in outputs)
    if refused:
        return 2 * isinstance(refused[0], FullDiskError)
    if stop.is_set():
        return 130
    return int(not repeated.is_same and not expected)


def _sum_up(repeated: Repeated, *, as_json: bool, to_stderr: bool) -> None:
    if as_json:
        found = {"turns": repeated.turns, "equal": repeated.equal, "other": repeated.other}
        click.echo(json.dumps(found | asdict(repeated.report), indent=2))
        return
    report = repeated.report
    differ = f"{repeated.other} differ from the recorded ones" if repeated.other else "the same to the bit"
    click.echo(
        f"{repeated.turns} turns in {report.seconds:.1f} s: {report.frames} frames, "
        f"{report.encoded_frames} encoded; {report.gaze_samples} gaze samples; "
        f"{repeated.equal + repeated.other} results, {differ}\n{table(report.latency_ms)}",
        err=to_stderr,
    )
