"""A whole run: source and gaze in, sinks out, durations summed up."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from threading import Event
from time import perf_counter_ns
from types import FrameType

from sam_edge.errors import OutputError
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import STANDARD_OUTPUT
from sam_edge.streaming.gaze import GazeSample
from sam_edge.streaming.latency import Summary, summarize
from sam_edge.streaming.offline import FrameResult, run_offline
from sam_edge.streaming.sinks.sink import FullDiskError, Sink, find_sink
from sam_edge.streaming.sources.source import FrameSource


@dataclass(frozen=True)
class Report:
    """What a run did."""

    frames: int
    samples: int
    """Gaze samples that fell into the video."""
    masks: int
    """Samples that were answered with a mask."""
    interrupted: bool
    expected_frames: int | None
    """How many the source was said to have; more than `frames` where it is damaged."""
    unused_samples: int
    """Gaze samples before the first frame or after the last."""
    latency_ms: Summary


def replay(
    segmenter: Segmenter,
    source: FrameSource,
    gaze: Sequence[GazeSample],
    outputs: Sequence[str],
    *,
    min_confidence: float = 0.6,
    stop: Event | None = None,
    each: Callable[[FrameResult], None] = lambda frame_result: None,
) -> Report:
    """Follow the gaze through the source and write every output, whole, also when the run ends midway.

    Args:
        segmenter: the model.
        source: frames; closed at the end.
        gaze: in the order of time, on the frames' clock.
        outputs: names of videos and JSON lines files, see `find_sink`.
        min_confidence: samples below it count as closed eyes.
        stop: ends the run after the frame in hand when set.
        each: called after every step, for progress bars and measurements.

    Raises:
        OutputError: an output cannot be written. Where a disk got full on the way, the outputs are kept as
            far as they came, and the message says so.
    """
    stop = stop or Event()
    stages: dict[str, list[float]] = {"encode": [], "decode": [], "write": []}
    frames = samples = masks = 0
    write_ms = 0.0
    full: FullDiskError | None = None
    with ExitStack() as stack:
        stack.callback(source.close)
        sinks = [stack.enter_context(find_sink(name)(name, source.frame_wh, source.fps)) for name in outputs]
        wanted = takewhile(lambda frame: not stop.is_set(), source)
        for frame_result in run_offline(segmenter, wanted, gaze, min_confidence=min_confidence):
            start = perf_counter_ns()
            try:
                sinks = [sink for sink in sinks if _write(sink, frame_result)]
            except FullDiskError as error:
                full = error
                break
            if outputs and not sinks:
                # Nobody reads what was asked for.
                stop.set()
            write_ms += (perf_counter_ns() - start) / 1e6
            if frame_result.last:
                stages["write"].append(write_ms)
                stages["encode"].append(frame_result.encode_ms)
                write_ms = 0.0
            answered = [result.decode_ms for result in frame_result.results if result.masks]
            stages["decode"] += answered
            frames, samples, masks = (
                frames + frame_result.last,
                samples + len(frame_result.results),
                masks + len(answered),
            )
            each(frame_result)
    if full is not None:
        kept = ", ".join(name for name in outputs if name != STANDARD_OUTPUT)
        raise OutputError(f"{full}; the first {frames} frames are kept in {kept}") from full
    unused = len(gaze) - samples
    return Report(frames, samples, masks, stop.is_set(), source.length, unused, summarize(stages))


def _write(sink: Sink, frame_result: FrameResult) -> bool:
    """Whether the sink still has a reader."""
    try:
        sink.write(frame_result)
    except BrokenPipeError:
        return False
    return True


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """An event that Ctrl-C, SIGTERM or a lost terminal sets: a run ends between frames, its files whole.

    Further signals change nothing: an impatient second Ctrl-C must not undo what the first one saves.
    """
    stop = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
