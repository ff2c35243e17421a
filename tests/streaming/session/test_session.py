"""A live run is recorded and repeated: the same results, to the bit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_edge.bundle.folder import write_bundle
from sam_edge.errors import InputError, OutputError
from sam_edge.loading import load
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.follow import FollowConfig
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.scheduler import SchedulerConfig
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.session.facts import SessionFacts
from sam_edge.streaming.session.journal import Turn
from sam_edge.streaming.session.mcap_file import open_recorder, session_file
from sam_edge.streaming.session.recorder import Recorder
from sam_edge.streaming.session.replay import Session
from sam_edge.tensors import Array, Arrays
from tests.disc_model import GRAPHS, DiscSession, disc_bundle, disc_manifest, disc_segmenter
from tests.streaming.session.recorded import INFO, WH, Live, record, results_of, run

pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
pytest.importorskip("mcap_protobuf", reason="mcap-protobuf-support is not installed")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return disc_segmenter(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def live(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Live:
    return record(tmp_path_factory.mktemp("live") / "session.mcap", segmenter)


def assert_same(found: list[Result], wanted: list[Result]) -> None:
    """Everything but the durations is equal."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for name in ("t_ns", "x_px", "y_px", "status", "freshness", "gaze", "object_id", "reused"):
            assert getattr(one, name) == getattr(other, name), name
        for name in ("gaze_age_ms", "frame_age_ms", "embedding_age_ms"):
            assert getattr(one, name) == getattr(other, name), name
        for mine, theirs in ((one.masks, other.masks), (one.decoded, other.decoded)):
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                np.testing.assert_array_equal(mine.logits, theirs.logits)
                np.testing.assert_array_equal(mine.predicted_iou, theirs.predicted_iou)
                assert mine.view == theirs.view
        np.testing.assert_array_equal(one.motion.matrix, other.motion.matrix)


def test_a_run_of_all_kinds_is_repeated_to_the_bit(live: Live, segmenter: Segmenter) -> None:
    assert str(live.report) == ""
    # The run has what can go wrong: masks of gaze and of boxes, carried and fresh ones, and none.
    assert {result.object_id for result in live.results} >= {None, 3}
    assert "mask" in {result.status for result in live.results}
    assert {result.reused for result in live.results} == {True, False}
    parts: list[FrameResult] = []
    repeated = Session(str(live.path)).repeat(segmenter, parts.append)
    assert_same(results_of(parts), live.results)
    assert [part.frame.index for part in parts] == [part.frame.index for part in live.parts]
    assert [part.last for part in parts] == [part.last for part in live.parts]
    assert (repeated.equal, repeated.other, repeated.notes) == (len(live.results), 0, ())
    assert repeated.is_same
    assert repeated.report.errors == {}


def test_settings_are_repeated_as_well(segmenter: Segmenter, tmp_path: Path) -> None:
    config = StreamConfig(
        gaze=GazeFilterConfig(px_per_degree=2.5, noise_deg=0.1),
        scheduler=SchedulerConfig(refresh_s=0.01),
        follow=replace(FollowConfig()),
    )
    live = record(tmp_path / "a.mcap", segmenter, config)
    parts: list[FrameResult] = []
    session = Session(str(live.path))
    assert session.facts.config == config
    session.repeat(segmenter, parts.append)
    assert_same(results_of(parts), live.results)


def test_nano_is_repeated_to_the_bit(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    with load("nano", runtime="onnxruntime", frame_wh=WH) as nano:
        live = record(tmp_path / "a.mcap", nano, frames=15)
        assert any(result.masks is not None for result in live.results)
        parts: list[FrameResult] = []
        repeated = Session(str(live.path)).repeat(nano, parts.append)
    assert_same(results_of(parts), live.results)
    assert (repeated.equal, repeated.other) == (len(live.results), 0)


def test_every_sample_is_kept_also_those_nobody_used(live: Live, segmenter: Segmenter) -> None:
    mcap_reader = pytest.importorskip("mcap.reader")
    with live.path.open("rb") as file:
        reader = mcap_reader.make_reader(file)
        topics = [channel.topic for _, channel, _ in reader.iter_messages()]
        records = {one.name: one.metadata for one in reader.iter_metadata()}
    assert topics.count("/gaze") == 1 + 20 * 4
    assert topics.count("/boxes") == 4
    assert topics.count("/camera") == topics.count("/frames") <= 20
    assert topics.count("/results") == len(live.results)
    assert records["run"]["model"] == segmenter.manifest.model_id


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_what_is_cut_off_is_repeated_up_to_there_and_says_so(
    segmenter: Segmenter, tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_edge.streaming.session.mcap_file.CHUNK_NS", 1)
    live = record(tmp_path / "a.mcap", segmenter)
    whole = live.path.read_bytes()
    live.path.write_bytes(whole[: int(len(whole) * share)])
    parts: list[FrameResult] = []
    repeated = Session(str(live.path)).repeat(segmenter, parts.append)
    found = results_of(parts)
    assert_same(found, live.results[: len(found)])
    assert repeated.turns > 0
    assert len(found) < len(live.results) or share > 0.9
    assert "cut off" in repeated.notes[0]


def test_what_a_crash_leaves_can_be_repeated(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_edge.streaming.session.mcap_file.CHUNK_NS", 1)
    left = tmp_path / "left.mcap"

    def crash(index: int) -> None:
        if index == 15:
            (written,) = (tmp_path / "run").glob(".sam-edge-*.mcap")
            left.write_bytes(written.read_bytes())

    live = record(tmp_path / "run" / "a.mcap", segmenter, before=crash)
    parts: list[FrameResult] = []
    repeated = Session(str(left)).repeat(segmenter, parts.append)
    found = results_of(parts)
    assert_same(found, live.results[: len(found)])
    assert repeated.turns > 0
    assert "cut off" in repeated.notes[0]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_damaged_recording_is_read_in_part_or_refused(
    data: st.DataObject, live: Live, segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(live.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.mcap"
    path.write_bytes(damaged)
    parts: list[FrameResult] = []
    # Anything else that is raised, or a wrong result, is a mistake.
    with suppress(InputError):
        Session(str(path)).repeat(segmenter, parts.append)
        found = results_of(parts)
        assert_same(found, live.results[: len(found)])


def test_another_model_is_refused(live: Live, tmp_path: Path) -> None:
    contents = tmp_path / "contents"
    contents.mkdir()
    for graph in GRAPHS.values():
        (contents / graph.file).write_bytes(b"another graph called " + graph.file.encode())
    other = Segmenter(write_bundle(tmp_path / "b", replace(disc_manifest(), name="b"), contents), DiscSession)
    with pytest.raises(InputError, match=r"was recorded with the model disc.*--model"):
        Session(str(live.path)).repeat(other)


def test_an_engine_that_rounds_otherwise_is_found(live: Live, tmp_path: Path) -> None:
    class Rounding(DiscSession):
        def compute(self, feeds: Mapping[str, Array]) -> Arrays:
            made = super().compute(feeds)
            return (
                made
                if "logits" not in made
                else {**made, "logits": np.nextafter(made["logits"], np.float32(9))}
            )

    repeated = Session(str(live.path)).repeat(Segmenter(disc_bundle(tmp_path), Rounding))
    assert repeated.other > 0
    assert not repeated.is_same


def test_jpegs_are_smaller_and_repeated_to_the_bit_as_well(
    live: Live, segmenter: Segmenter, tmp_path: Path
) -> None:
    smaller = record(tmp_path / "a.mcap", segmenter, options="?frames=jpeg")
    parts: list[FrameResult] = []
    repeated = Session(str(smaller.path)).repeat(segmenter, parts.append)
    assert_same(results_of(parts), smaller.results)
    assert (repeated.equal, repeated.other) == (len(smaller.results), 0)
    for name, mine in (("png", live), ("jpeg", smaller)):
        assert Session(str(mine.path)).facts.frames == name


def test_a_full_disk_ends_the_recording_and_not_the_stream(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result([4096, 4096, 9, 9, 0, 9, 9, 9, 0, 255])
    is_full = Event()
    room = os.statvfs
    monkeypatch.setattr(
        "sam_edge.streaming.sinks.room.os.statvfs", lambda place: full if is_full.is_set() else room(place)
    )
    live = record(tmp_path / "a.mcap", segmenter, before=lambda index: is_full.set() if index == 10 else None)
    assert isinstance(live.report.error, OutputError)
    assert "the disk is full" in str(live.report)
    assert live.report.lost_results > 0
    assert live.parts[-1].frame.index == 19
    parts: list[FrameResult] = []
    repeated = Session(str(live.path)).repeat(segmenter, parts.append)
    found = results_of(parts)
    assert 0 < repeated.equal <= len(found) < len(live.results)
    assert_same(found, live.results[: len(found)])


def test_a_disk_that_is_too_slow_ends_the_recording_and_nobody_waits(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_edge.streaming.session.recorder.MAX_WAITING_BYTES", 5 * WH[0] * WH[1] * 3)
    goes_on = Event()

    class Slow:
        def turn(self, turn: Turn) -> None:
            goes_on.wait(20)

        def results(self, part: FrameResult) -> None:
            """Nothing is kept."""

    @contextmanager
    def slow() -> Iterator[Slow]:
        yield Slow()

    recorder = Recorder("slow.mcap", slow)
    parts = run(recorder, segmenter, StreamConfig())
    assert recorder.has_ended
    goes_on.set()
    report = recorder.close()
    assert "faster than they can be written" in str(report)
    assert parts[-1].frame.index == 19


def test_a_run_that_goes_another_way_is_found(segmenter: Segmenter, tmp_path: Path) -> None:
    turns: list[Any] = []

    class Kept:
        def turn(self, turn: Turn) -> None:
            turns.append(turn)

        def results(self, part: FrameResult) -> None:
            """Not needed."""

    @contextmanager
    def kept() -> Iterator[Kept]:
        yield Kept()

    recorder = Recorder("kept", kept)
    run(recorder, segmenter, StreamConfig(), 4)
    recorder.close()
    changed = next(number for number, turn in enumerate(turns) if turn.who == "decode" and turn.times_ns)
    turns[changed] = replace(turns[changed], times_ns=turns[changed].times_ns[1:])
    path = tmp_path / "a.mcap"
    with session_file(str(path), SessionFacts.of(segmenter, StreamConfig(), "png", WH, 30.0)) as file:
        for turn in turns:
            file.turn(turn)
    with pytest.raises(InputError, match="goes another way here after"):
        Session(str(path)).repeat(segmenter)


def test_a_stream_in_which_nothing_happened_leaves_the_old_recording(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"the last good run")
    recorder = open_recorder(str(path), segmenter, StreamConfig(), INFO)
    assert "nothing happened" in str(recorder.close())
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the last good run"]


@pytest.mark.parametrize(
    ("name", "what"),
    [("a.mp4", "cannot record to a.mp4"), ("a.mcap?frames=gif", "frames=gif"), ("a.mcap?size=3", "'size'")],
)
def test_a_name_that_cannot_be_recorded_to_is_refused(segmenter: Segmenter, name: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        open_recorder(name, segmenter, StreamConfig(), INFO)


@pytest.mark.parametrize("content", [b"", b"not an MCAP file", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n\x06\xff"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mcap"):
        Session(str(path))
