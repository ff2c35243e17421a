"""A sink in its own thread never holds the stream up, and what it loses is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Semaphore

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError, OutputError
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.callback import callback_sink
from sam_edge.streaming.sinks.sink import FullDiskError, OpenSink, Sink
from sam_edge.streaming.sinks.threaded import MAX_FRAMES, MAX_RESULTS, ThreadedSink
from tests.streaming.sinks.made import FRAME_NS, WH, part, result

PATIENCE_S = 30.0


class Recording:
    """A sink that keeps what it got, and waits or fails where a test says so."""

    def __init__(self, before: Callable[[FrameResult], None] = lambda frame_result: None) -> None:
        self.parts: list[FrameResult] = []
        self.run: dict[str, str] = {}
        self.outcome = "open"
        self.ended = Event()
        self.wrote = Semaphore(0)
        self._before = before

    def write(self, frame_result: FrameResult) -> None:
        self._before(frame_result)
        self.parts.append(frame_result)
        self.wrote.release()

    def describe(self, run: dict[str, str]) -> None:
        self.run = dict(run)

    def opener(self) -> OpenSink:
        @contextmanager
        def open_recording(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[Sink]:
            try:
                yield self
                self.outcome = "kept"
            except BaseException:
                self.outcome = "thrown away"
                raise
            finally:
                self.ended.set()

        return open_recording

    @property
    def results(self) -> list[Result]:
        return [result for part in self.parts for result in part.results]


class Stalled(Recording):
    """A sink that hangs in its first write until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = Event(), Event()
        super().__init__(self._hang)

    def _hang(self, frame_result: FrameResult) -> None:
        self.entered.set()
        assert self.let_go.wait(PATIENCE_S)


def threaded(sink: Recording) -> ThreadedSink:
    return ThreadedSink("test", WH, 25.0, opener=sink.opener())


def test_all_arrives_in_order_when_the_sink_is_fast() -> None:
    sink = Recording()
    outer = threaded(sink)
    for index in range(20):
        outer.write(part(index, [result(index * FRAME_NS)]))
        assert sink.wrote.acquire(timeout=PATIENCE_S)
    report = outer.close()
    assert (report.lost_results, report.lost_frames, report.error, str(report)) == (0, 0, None, "")
    assert [step.frame.index for step in sink.parts] == list(range(20))
    assert sink.outcome == "kept"


def test_a_stalled_sink_loses_the_oldest_and_says_how_many() -> None:
    sink = Stalled()
    outer = threaded(sink)
    outer.write(part(0, [result(0)]))
    assert sink.entered.wait(PATIENCE_S)
    for index in range(1, 11):
        outer.write(part(index, [result(index * FRAME_NS)]))
    assert (outer.lost, outer.lost_frames, outer.has_ended) == (10 - MAX_FRAMES, 10 - MAX_FRAMES, False)
    sink.let_go.set()
    report = outer.close()
    assert [step.frame.index for step in sink.parts] == [0, 8, 9, 10]
    assert (report.lost_results, report.lost_frames, report.error) == (7, 7, None)
    assert "7 results and 7 frames" in str(report)


def test_parts_of_a_frame_that_wait_are_joined() -> None:
    sink = Stalled()
    outer = threaded(sink)
    outer.write(part(0))
    assert sink.entered.wait(PATIENCE_S)
    for k in range(3):
        outer.write(part(1, [result(FRAME_NS + k)], last=False))
    outer.write(part(1))
    sink.let_go.set()
    outer.close()
    joined = sink.parts[1]
    assert (len(sink.parts), len(joined.results), joined.last) == (2, 3, True)


def test_of_too_many_results_on_one_frame_the_newest_stay() -> None:
    sink = Stalled()
    outer = threaded(sink)
    outer.write(part(0))
    assert sink.entered.wait(PATIENCE_S)
    for k in range(MAX_RESULTS + 5):
        outer.write(part(1, [result(k, "no_gaze")], last=False))
    sink.let_go.set()
    report = outer.close()
    assert [one.t_ns for one in sink.results] == list(range(5, MAX_RESULTS + 5))
    assert (report.lost_results, report.lost_frames) == (5, 0)


def test_close_never_hangs_and_counts_what_waited() -> None:
    sink = Stalled()
    outer = threaded(sink)
    outer.write(part(0, [result(0)]))
    assert sink.entered.wait(PATIENCE_S)
    outer.write(part(1, [result(FRAME_NS)]))
    report = outer.close(write_s=0.01)
    assert isinstance(report.error, OutputError)
    assert (report.lost_results, report.lost_frames) == (1, 1)
    sink.let_go.set()
    assert sink.ended.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (ValueError("no such colour"), "thrown away", "no such colour"),
        (OutputError("cannot write it"), "thrown away", "cannot write it"),
        (FullDiskError("the disk is full"), "kept", "the disk is full; what came before is kept"),
        (BrokenPipeError(), "kept", ""),
    ],
)
def test_a_failure_ends_the_sink_alone_and_is_told_once(error: Exception, outcome: str, told: str) -> None:
    def fail_at_2(frame_result: FrameResult) -> None:
        if frame_result.frame.index == 2:
            raise error

    sink = Recording(fail_at_2)
    outer = threaded(sink)
    for index in range(3):
        outer.write(part(index, [result(index * FRAME_NS)]))
    report = outer.close()
    # What comes after the end is lost, and never raises.
    outer.write(part(3, [result(3 * FRAME_NS)]))
    assert (report.lost_results, report.lost_frames) == (1, 1)
    assert (outer.lost, outer.has_ended) == (2, True)
    assert ("" if report.error is None else str(report.error)) == told
    assert (len(sink.parts), sink.outcome) == (2, outcome)


def test_a_stream_that_fails_keeps_nothing() -> None:
    sink = Recording()

    def stream() -> None:
        with threaded(sink) as outer:
            outer.write(part(0))
            raise RuntimeError("camera unplugged")

    with pytest.raises(RuntimeError, match="camera"):
        stream()
    assert sink.outcome == "thrown away"


def test_what_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        ThreadedSink(str(tmp_path / "file" / "out.jsonl"), WH, 25.0)
    with pytest.raises(InputError, match="cannot tell what to write"):
        ThreadedSink("out.gif", WH, 25.0)


def test_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ThreadedSink(str(path), WH, 25.0) as outer:
        for index in range(3):
            outer.write(part(index, [result(index * FRAME_NS)]))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2]


def test_a_sink_that_keeps_facts_about_the_run_gets_them() -> None:
    sink = Recording()
    ThreadedSink("test", WH, 25.0, run={"model": "nano"}, opener=sink.opener()).close()
    assert sink.run == {"model": "nano"}


def test_a_callback_gets_every_result_with_its_frame() -> None:
    got: list[tuple[int, int]] = []
    opener = callback_sink(lambda frame_result, one: got.append((frame_result.frame.index, one.t_ns)))
    with ThreadedSink("mine", WH, 25.0, opener=opener) as outer:
        outer.write(part(0, [result(1), result(2)], last=False))
        outer.write(part(0))
        outer.write(part(1, [result(FRAME_NS)]))
    assert got == [(0, 1), (0, 2), (1, FRAME_NS)]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=25),
    st.integers(0, 25),
)
def test_whatever_comes_nothing_is_counted_twice_or_out_of_order(
    steps: list[tuple[int, int, bool]], free_at: int
) -> None:
    """Each step: how many frames on, how many results, whether it is the frame's last part."""
    sink = Stalled()
    outer = threaded(sink)
    index, t_ns, frames = 0, 0, 0
    for number, (ahead, count, last) in enumerate(steps):
        if number == free_at:
            sink.let_go.set()
        index += ahead
        frames += last
        outer.write(part(index, [result(t_ns + k, "no_gaze") for k in range(count)], last=last))
        t_ns += count
    sink.let_go.set()
    report = outer.close()
    times = [one.t_ns for one in sink.results]
    assert times == sorted(set(times))
    assert len(times) + report.lost_results == t_ns
    indices = [step.frame.index for step in sink.parts]
    assert indices == sorted(indices)
    assert sum(step.last for step in sink.parts) + report.lost_frames <= frames
    # A joined part has no more than may wait, and the one before it.
    assert all(len(step.results) <= MAX_RESULTS for step in sink.parts)
