"""However a stream ends, everything ends with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Event
from time import monotonic_ns

from sam_edge.segmenter import Segmenter
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import FrameResult
from tests.streaming.live.watching import MS, PATIENCE_S, look, picture


def test_closing_ends_every_iteration_and_closing_again_does_nothing(segmenter: Segmenter) -> None:
    stream = Stream(segmenter)
    results = stream.results()
    look(stream, 100, 60)
    stream.close()
    stream.close()
    # What waited can still be read, and then it is over.
    assert [result.masks is not None for result in results] == [True]
    assert list(stream) == []
    stream.push_frame(picture())
    stream.push_gaze(1, 1)


def test_closing_from_a_result_ends_everything(segmenter: Segmenter) -> None:
    ended = Event()

    def each(frame_result: FrameResult) -> None:
        if frame_result.results:
            running.close()

    running = Stream(segmenter, each=each)
    running.on_close(ended.set, last=True)
    running.push_frame(picture())
    for number in range(40):
        running.push_gaze(100, 60, monotonic_ns() + number * 5 * MS)
    assert ended.wait(PATIENCE_S)
    assert running.is_closed


def test_iterators_that_nobody_reads_are_forgotten(stream: Stream) -> None:
    for _ in range(20):
        iter(stream)
    started = iter(stream)
    look(stream, 100, 60)
    assert next(started).masks is not None


def test_an_unclosed_stream_does_not_abort_python_and_keeps_its_outputs(tmp_path: Path) -> None:
    program = """
import sam_edge
from sam_edge.streaming.gaze.sample import GazeSample
gaze = [GazeSample(t * 5_000_000, 0.5, 0.5) for t in range(400)]
running = sam_edge.stream("scene:0", gaze, runtime="null", sinks=["seen.jsonl"])
print(next(iter(running)).status)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout) == (0, "mask\n"), done.stderr
    assert (tmp_path / "seen.jsonl").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["seen.jsonl"]
