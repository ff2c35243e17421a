"""A camera, an eye tracker and a model become a stream of masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from time import monotonic_ns

from sam_edge.bundle.manifest import Precision
from sam_edge.errors import InputError
from sam_edge.loading import load
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.clock import choose_clock, to_frame_clock
from sam_edge.streaming.gaze.paced import PacedGaze
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import LiveGaze, open_gaze, open_live_gaze
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.pipeline import Pipeline
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.pace import Pace
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.mcap_file import open_recorder
from sam_edge.streaming.sinks.threaded import SinkReport, ThreadedSink
from sam_edge.streaming.sources.paced import Paced
from sam_edge.streaming.sources.source import FrameSource, open_source

START_NS = 200_000_000
"""A recording begins so long after everything is open."""


def stream(
    source: str | FrameSource,
    gaze: str | LiveGaze | Sequence[GazeSample] | None = None,
    *,
    model: str | Path | Segmenter = "nano",
    runtime: str | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    config: StreamConfig | None = None,
    sinks: Sequence[str] = (),
    each: Callable[[FrameResult], None] | None = None,
    speed: float = 1.0,
    record: str | None = None,
) -> Stream:
    """Mask what is looked at, live: `for result in sam_edge.stream("0", "neon://neon.local"): ...`

    Recordings are played in real time, as if they happened now. The iteration ends with a recording, or when
    the stream is closed; leaving a `for` loop closes nothing, leaving a `with` block does.

    Args:
        source: a camera (`0`, `rtsp://...`), a video, a folder of images, `scene:SEED`, or a source of your
        own.
        gaze: an eye tracker (`neon://...`, `udp://...`), a recording, samples on the frames' clock, or a source
        of
            your own. None: push gaze or boxes yourself (`push_gaze`, `push_boxes`).
        model: a shipped model, a folder, or a segmenter that is open, which stays open.
        runtime: see `load`.
        precision: see `load`.
        threads: see `load`.
        config: thresholds and limits; `StreamConfig.read` takes them from a TOML file.
        sinks: where results go besides, such as `seen.mp4` or `seen.jsonl`. A sink that stalls loses its own
        output.
        each: called with every result, see `Stream`.
        speed: of recordings: 2 is twice as fast.
        record: keep all that is needed to repeat this run, in `session.mcap`, or `session.mcap?frames=jpeg`
            (docs/recording.md).

    Raises:
        InputError: a source, sink or number that cannot be used; see also `load`.
    """
    if not speed > 0:
        raise InputError(f"the speed is {speed}", hint="give a number above 0")
    with ExitStack() as opened:
        frames = open_source(source) if isinstance(source, str) else source
        opened.callback(frames.close)
        looks = open_any_gaze(gaze, frames)
        if looks is not None and not isinstance(looks, Sequence):
            opened.callback(looks.close)
        if isinstance(model, Segmenter):
            segmenter = model
            segmenter.warm_up(frames.info.frame_wh)
        else:
            segmenter = opened.enter_context(
                load(
                    model,
                    runtime=runtime,
                    precision=precision,
                    threads=threads,
                    frame_wh=frames.info.frame_wh,
                )
            )
        told = Event()
        outputs: list[ThreadedSink] = []
        reports: list[SinkReport] = []
        run = {"model": segmenter.manifest.model_id, "config": repr(config or StreamConfig())}
        for name in sinks:
            output = ThreadedSink(name, frames.info.frame_wh, frames.info.fps, run=run)
            opened.callback(_close, output, reports, told)
            outputs.append(output)

        def tell(frame_result: FrameResult) -> None:
            told.set()
            for output in outputs:
                output.write(frame_result)
            if each is not None:
                each(frame_result)

        pipeline: Callable[..., Pipeline] = Pipeline
        if record is not None:
            recorder = open_recorder(record, segmenter, config or StreamConfig(), frames.info)
            opened.callback(lambda: reports.append(recorder.close()))
            pipeline = recorder.pipeline

        pace = Pace(frames.info.start_ns, monotonic_ns() + START_NS, speed)
        if not frames.info.live:
            frames = Paced(frames, pace)
        live_gaze = PacedGaze("gaze", looks, pace) if isinstance(looks, Sequence) else looks
        running = Stream(segmenter, config, each=tell if outputs or each else None, pipeline=pipeline)
        running.sink_reports = reports
        running.on_close(opened.pop_all().close, last=True)
    if live_gaze is not None:
        running.play(live_gaze)
    running.play(frames, ends=True)
    return running


def open_any_gaze(
    gaze: str | LiveGaze | Sequence[GazeSample] | None, frames: FrameSource
) -> LiveGaze | Sequence[GazeSample] | None:
    """A tracker, or the samples of a recording on the frames' clock.

    Raises:
        InputError: it cannot be opened, or a recording comes with a camera that runs now.
    """
    if not isinstance(gaze, str):
        return gaze
    tracker = open_live_gaze(gaze)
    if tracker is not None:
        return tracker
    if frames.info.live:
        raise InputError(
            f"{gaze} is a recording, and the frames come from a camera",
            hint="give an eye tracker, such as neon://",
        )
    recording = open_gaze(gaze)
    return to_frame_clock(recording, choose_clock(recording, frames.info))


def _close(output: ThreadedSink, reports: list[SinkReport], told: Event) -> None:
    # Of a stream that ended before its first frame, no empty file takes the place of an older one.
    reports.append(output.close(keep=told.is_set()))
