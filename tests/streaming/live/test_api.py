"""Sources, sinks and a model put together as one stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from time import monotonic_ns

import pytest

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.aio import as_async
from sam_edge.streaming.live.api import stream
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import Result
from sam_edge.streaming.sources.source import Frame, SourceInfo
from tests.disc_model import disc_segmenter
from tests.streaming.live.watching import picture

MS = 1_000_000
GAZE = [GazeSample(t * 5 * MS, 0.4, 0.5) for t in range(200)]


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


class Clip:
    """A recording of a camera that moves slowly to the right."""

    lost_frames = 0

    def __init__(self, frames: int = 12, fps: float = 30.0) -> None:
        self.info = SourceInfo((256, 128), fps, frames)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.info.length or 0):
            yield Frame(picture(index), index, round(index * 1e9 / self.info.fps))

    def close(self) -> None:
        """Nothing is held."""


class Camera(Clip):
    """A camera that runs until it is closed."""

    def __init__(self, broken: bool = False) -> None:
        self.info = SourceInfo((256, 128), 30.0, live=True)
        self.closed = Event()
        self._broken = broken

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self.closed.wait(0.01):
            yield Frame(picture(index % 8), index, monotonic_ns())
            index += 1
            if self._broken and index == 3:
                raise OSError("the cable")

    def close(self) -> None:
        self.closed.set()


class Tracker:
    """An eye tracker whose clock is its own."""

    name = "tracker"
    dropped: Mapping[str, int] = {}

    def __init__(self) -> None:
        self.closed = Event()

    def __iter__(self) -> Iterator[GazeSample]:
        while not self.closed.wait(0.005):
            now_ns = monotonic_ns()
            yield GazeSample(now_ns - 7 * 3600 * 10**9, 0.4, 0.5, clock="source", receive_ns=now_ns)

    def close(self) -> None:
        self.closed.set()


def test_a_recording_is_played_to_its_end(segmenter: Segmenter, tmp_path: Path) -> None:
    lines = tmp_path / "seen.jsonl"
    with stream(Clip(), GAZE, model=segmenter, sinks=[str(lines)], speed=2) as running:
        results = [result for result in running if result.masks is not None]
    assert results
    assert running.is_closed
    assert running.report().errors == {}
    for result in results:
        assert result.masks is not None
        x, y = result.masks.boxes_px()[0][:2]
        assert 0 < x < 256
        assert 0 < y < 128
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {"fresh", "carried"} & {line["freshness"] for line in written}
    (report,) = running.sink_reports
    assert report.error is None


def test_a_camera_and_a_tracker_run_until_they_are_closed(segmenter: Segmenter) -> None:
    camera, tracker = Camera(), Tracker()
    with stream(camera, tracker, model=segmenter) as running:
        result = next(result for result in running if result.masks is not None)
    assert camera.closed.is_set()
    assert tracker.closed.is_set()
    assert result.gaze is not None
    # The tracker's clock is seven hours behind, and its samples are as old as they are.
    assert 0 <= result.gaze_age_ms < 10_000
    assert result.gaze.offset_ns == pytest.approx(7 * 3600 * 10**9, abs=10**9)
    # The segmenter came from outside and stays open.
    segmenter.encode(picture())


def test_a_camera_that_fails_ends_the_stream_with_a_word(segmenter: Segmenter) -> None:
    with stream(Camera(broken=True), Tracker(), model=segmenter) as running:
        list(running)
    assert running.report().errors == {"source: OSError: the cable": 1}


def test_recorded_gaze_does_not_belong_to_a_camera(segmenter: Segmenter, tmp_path: Path) -> None:
    recording = tmp_path / "gaze.csv"
    recording.write_text("t_s,x_norm,y_norm\n0,0.5,0.5\n")
    camera = Camera()
    with pytest.raises(InputError) as caught:
        stream(camera, str(recording), model=segmenter)
    assert caught.value.hint is not None
    assert camera.closed.is_set()


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_impossible_speed(segmenter: Segmenter, speed: float) -> None:
    with pytest.raises(InputError):
        stream(Clip(), GAZE, model=segmenter, speed=speed)


def test_an_output_that_cannot_be_written_is_said_before_anything_runs(segmenter: Segmenter) -> None:
    camera = Camera()
    with pytest.raises(InputError):
        stream(camera, Tracker(), model=segmenter, sinks=["seen.gif"])
    assert camera.closed.is_set()


def test_in_asyncio_results_come_and_cancelling_leaves_the_stream_open(segmenter: Segmenter) -> None:
    async def read(running: Stream) -> Result:
        async for result in as_async(running):
            if result.masks is not None:
                return result
        raise AssertionError("it ended")

    async def read_forever(running: Stream) -> None:
        async for _ in as_async(running):
            pass

    async def main(running: Stream) -> None:
        assert (await asyncio.wait_for(read(running), 20)).freshness is not None
        task = asyncio.create_task(read_forever(running))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running.is_closed
        # And an iteration ends with the stream.
        task = asyncio.create_task(read_forever(running))
        await asyncio.to_thread(running.close)
        await asyncio.wait_for(task, 20)

    with stream(Camera(), Tracker(), model=segmenter) as running:
        asyncio.run(main(running))
