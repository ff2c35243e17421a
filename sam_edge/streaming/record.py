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

from sam_edge.segmenter import Segmenter
from sam_edge.streaming.follow import Step, follow
from sam_edge.streaming.frames import FrameSource
from sam_edge.streaming.gaze import GazeSample
from sam_edge.streaming.latency import Summary, summarize
from sam_edge.streaming.sinks import find_sink


@dataclass(frozen=True)
class Report:
    """What a run did."""

    frames: int
    samples: int
    """Gaze samples that fell into the video."""
    masks: int
    """Samples that were answered with a mask."""
    interrupted: bool
    latency_ms: Summary


def record(
    segmenter: Segmenter,
    source: FrameSource,
    gaze: Sequence[GazeSample],
    outputs: Sequence[str],
    *,
    min_confidence: float = 0.6,
    stop: Event | None = None,
    each: Callable[[Step], None] = lambda step: None,
) -> Report:
    """Follow the gaze through the source and write every output, whole, also when `stop` is set midway.

    Args:
        segmenter: the model.
        source: frames; closed at the end.
        gaze: in the order of time, on the frames' clock.
        outputs: names of videos and JSON lines files, see `find_sink`.
        min_confidence: samples below it count as closed eyes.
        stop: ends the run after the frame in hand when set.
        each: called after every frame, for progress bars and measurements.
    """
    stop = stop or Event()
    stages: dict[str, list[float]] = {"encode": [], "decode": [], "write": []}
    frames = samples = masks = 0
    with ExitStack() as stack:
        stack.callback(source.close)
        sinks = [stack.enter_context(find_sink(name)(name, source.frame_wh, source.fps)) for name in outputs]
        wanted = takewhile(lambda frame: not stop.is_set(), source)
        for step in follow(segmenter, wanted, gaze, min_confidence=min_confidence):
            start = perf_counter_ns()
            for sink in sinks:
                sink.write(step)
            stages["write"].append((perf_counter_ns() - start) / 1e6)
            stages["encode"].append(step.encode_ms)
            answered = [look.decode_ms for look in step.looks if look.masks]
            stages["decode"] += answered
            frames, samples, masks = frames + 1, samples + len(step.looks), masks + len(answered)
            each(step)
    return Report(frames, samples, masks, stop.is_set(), summarize(stages))


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a run ends between frames and its files are whole.

    A second signal interrupts at once.
    """
    stop = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
