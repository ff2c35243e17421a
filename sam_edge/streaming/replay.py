"""A whole run: a source and gaze in, sinks out, and a report."""

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
from sam_edge.streaming.gaze.sample import GazeClock, GazeSample
from sam_edge.streaming.latency import Summary, summarize
from sam_edge.streaming.offline import REUSE_DISTANCE, run_offline
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.sink import FullDiskError, Sink, find_sink
from sam_edge.streaming.sources.source import FrameSource


@dataclass(frozen=True)
class Report:
    """What a run did."""

    frames: int
    encoded_frames: int
    """Frames that a gaze sample needed; the others were not encoded."""
    samples: int
    """Gaze samples that fell onto a frame."""
    masks: int
    """Samples that were answered with a mask."""
    reused_masks: int
    """Those of them that got the mask of a sample beside them on the same frame."""
    interrupted: bool
    """Whether `stop` ended the run."""
    expected_frames: int | None
    """How many the source was said to have."""
    lost_frames: int
    """Frames that the source has and that could not be read."""
    unused_samples: int
    """Gaze samples before the first frame or after the last; 0 where the run ended before the source."""
    gaze_clock: GazeClock | None
    """What the times of the gaze count from; None without gaze."""
    gaze_offset_s: float | None
    """Seconds that were added to the times of the gaze to get the frames' times; None without gaze."""
    notes: tuple[str, ...]
    """What was assumed about the source, one sentence each."""
    latency_ms: Summary


def replay(
    segmenter: Segmenter,
    source: FrameSource,
    gaze: Sequence[GazeSample],
    outputs: Sequence[str],
    *,
    min_confidence: float = 0.6,
    reuse_distance: float = REUSE_DISTANCE,
    stop: Event | None = None,
    each: Callable[[FrameResult], None] = lambda frame_result: None,
) -> Report:
    """Follow the gaze through the source and write every output, whole, also when the run ends midway.

    The run also ends, as if the source did, when the reader of every output (`-`, a pipe) has left.

    Args:
        segmenter: the model.
        source: frames; closed at the end.
        gaze: in the order of time, on the frames' clock (`to_frame_clock`).
        outputs: names of videos and JSON lines files, see `find_sink`.
        min_confidence: samples below it count as closed eyes, 0 to 1.
        reuse_distance: see `run_offline`.
        stop: ends the run after the frame in hand when set.
        each: called after every part of a frame, for progress bars and measurements.

    Raises:
        OutputError: an output cannot be written. Where a disk got full on the way, the outputs are kept as
            far as they came, and the message says so.
    """
    stop = stop or Event()
    info = source.info
    counts = _Counts()
    full: FullDiskError | None = None
    write_ms, ended_early = 0.0, False
    with ExitStack() as stack:
        stack.callback(source.close)
        sinks = [stack.enter_context(find_sink(name)(name, info.frame_wh, info.fps)) for name in outputs]
        frames = takewhile(lambda frame: not stop.is_set(), source)
        for frame_result in run_offline(
            segmenter, frames, gaze, min_confidence=min_confidence, reuse_distance=reuse_distance
        ):
            start = perf_counter_ns()
            try:
                sinks = [sink for sink in sinks if _write(sink, frame_result)]
            except FullDiskError as error:
                full = error
                break
            write_ms += (perf_counter_ns() - start) / 1e6
            counts.add(frame_result, write_ms)
            if frame_result.last:
                write_ms = 0.0
            each(frame_result)
            if outputs and not sinks:
                ended_early = True
                break
    if full is not None:
        kept = ", ".join(name for name in outputs if name != STANDARD_OUTPUT)
        raise OutputError(f"{full}; the first {counts.frames} frames are kept in {kept}") from full
    return Report(
        frames=counts.frames,
        encoded_frames=len(counts.stages["encode"]),
        samples=counts.samples,
        masks=counts.masks,
        reused_masks=counts.reused,
        interrupted=stop.is_set(),
        expected_frames=info.length,
        lost_frames=source.lost_frames,
        unused_samples=0 if ended_early or stop.is_set() else len(gaze) - counts.samples,
        gaze_clock=gaze[0].clock if gaze else None,
        gaze_offset_s=gaze[0].offset_ns / 1e9 if gaze else None,
        notes=info.notes,
        latency_ms=summarize(counts.stages),
    )


class _Counts:
    """What a report counts, and the durations of each stage in milliseconds."""

    def __init__(self) -> None:
        self.frames = self.samples = self.masks = self.reused = 0
        self.stages: dict[str, list[float]] = {"encode": [], "decode": [], "write": []}

    def add(self, frame_result: FrameResult, write_ms: float) -> None:
        """Count a part of a frame; `write_ms` is what its parts so far took to write."""
        masks = [result for result in frame_result.results if result.masks]
        self.samples += len(frame_result.results)
        self.masks += len(masks)
        self.reused += sum(result.reused for result in masks)
        self.stages["decode"] += [result.decode_ms for result in masks if not result.reused]
        if frame_result.last:
            self.frames += 1
            self.stages["write"].append(write_ms)
            if frame_result.encode_ms is not None:
                self.stages["encode"].append(frame_result.encode_ms)


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
