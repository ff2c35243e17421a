"""Live runs to record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.session.mcap_file import open_recorder
from sam_edge.streaming.session.recorder import Recorder
from sam_edge.streaming.sinks.threaded import SinkReport
from sam_edge.streaming.sources.source import SourceInfo
from tests.streaming.live.watching import MS, PATIENCE_S, picture

WH = (256, 128)
INFO = SourceInfo(WH, 30.0)


@dataclass
class Live:
    """A live run, and how its recording ended."""

    path: Path
    parts: list[FrameResult]
    report: SinkReport

    @property
    def results(self) -> list[Result]:
        return results_of(self.parts)


def results_of(parts: list[FrameResult]) -> list[Result]:
    return [result for part in parts for result in part.results]


def record(
    path: Path,
    segmenter: Segmenter,
    config: StreamConfig | None = None,
    *,
    frames: int = 20,
    options: str = "",
    before: Callable[[int], None] = lambda index: None,
) -> Live:
    """Run and record a stream in which everything happens: the eye jumps, blinks and looks past the frame, the
    camera turns, a tracker tells of boxes, an object is followed, and a listener asks things on the way.

    Args:
        path: of the recording.
        segmenter: the model.
        config: of the stream.
        frames: how many are pushed.
        options: behind the recording's name.
        before: called before each frame.
    """
    config = config or StreamConfig()
    recorder = open_recorder(f"{path}{options}", segmenter, config, INFO)
    parts = run(recorder, segmenter, config, frames, before)
    return Live(path, parts, recorder.close())


def run(
    recorder: Recorder,
    segmenter: Segmenter,
    config: StreamConfig,
    frames: int = 20,
    before: Callable[[int], None] = lambda index: None,
) -> list[FrameResult]:
    """What the stream told."""
    parts: list[FrameResult] = []

    def each(part: FrameResult) -> None:
        parts.append(part)
        stream.report()
        if len(parts) == 12:
            with suppress(InputError):
                stream.follow(8)

    with Stream(segmenter, config, each=each, pipeline=recorder.pipeline) as stream:
        stream.push(GazeSample(monotonic_ns(), 0.1, 0.1, clock="host"))
        for index in range(frames):
            before(index)
            stream.push_rotation((0.0, 0.01 * index, 0.0))
            stream.push_frame(picture(2 * index % 40))
            t_ns = monotonic_ns()
            x_px = 100 + index / 3 + 60 * (index > 10) + 400 * (index == 18)
            for number in range(4):
                confidence = 0.0 if index in (6, 7) else 1.0
                stream.push_gaze(x_px, 60, t_ns + number * 5 * MS, confidence=confidence)
            if index % 5 == 3:
                stream.push_boxes([TrackedBox(3, t_ns, (10, 10, 60 + index, 60))])
            if index == 9:
                with suppress(InputError):
                    stream.follow(7)
            if index == 16:
                stream.unfollow(7)
            # Otherwise the next frame takes this one's place.
            stream.drain(PATIENCE_S) if index % 3 else None
        stream.drain(PATIENCE_S)
    return parts
