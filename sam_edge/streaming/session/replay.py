"""A recorded run, once more: the pipeline that ran it, with its threads in the recorded order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from time import monotonic

from sam_edge.errors import InputError
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.live.pipeline import Pipeline
from sam_edge.streaming.live.report import Counts, StreamReport
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.digest import digest
from sam_edge.streaming.session.facts import SessionFacts
from sam_edge.streaming.session.gate import Gate
from sam_edge.streaming.session.images import to_frame
from sam_edge.streaming.session.journal import Turn, TurnLock
from sam_edge.streaming.session.reading import McapFile

TOPICS = ("/camera", "/frames", "/turns", "/results")


@dataclass(frozen=True)
class Repeated:
    """What a replay did."""

    turns: int
    """How many turns were repeated."""
    equal: int
    """Results that are the recorded ones to the bit."""
    other: int
    """Results that differ from the recorded ones."""
    notes: tuple[str, ...]
    """What is to be known about it, one sentence each: why results may differ, that the recording is cut."""
    report: StreamReport
    """As of the live run; durations are those of this one."""

    @property
    def is_same(self) -> bool:
        """Whether all results are the recorded ones to the bit."""
        return self.other == 0


@dataclass
class _Compared:
    """Digests that wait for their partner."""

    recorded: deque[str] = field(default_factory=deque)
    made: deque[str] = field(default_factory=deque)
    equal: int = 0
    other: int = 0

    def compare(self) -> None:
        while self.recorded and self.made:
            is_equal = self.recorded.popleft() == self.made.popleft()
            self.equal += is_equal
            self.other += not is_equal


class Session:
    """A recorded run in an MCAP file.

    Args:
        name: the file.

    Raises:
        InputError: it cannot be read, or is no recorded run.
        MissingExtraError: mcap is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = McapFile(name)
        self.facts = SessionFacts.read(self._file.records, name)

    def repeat(
        self,
        segmenter: Segmenter,
        each: Callable[[FrameResult], None] = lambda frame_result: None,
        *,
        stop: Event | None = None,
    ) -> Repeated:
        """Run it again, as fast as it goes.

        Args:
            segmenter: the model that was recorded.
            each: called with every result, on another thread, in the recorded order; what it raises is counted
                in the report's errors.
            stop: ends it when set.

        Raises:
            InputError: another model, a recording that says nothing sound, or one whose run goes another way
                here.
        """
        notes = self.facts.check(segmenter, self._name)
        began_s = monotonic()
        gate, compared, counts = Gate(), _Compared(), Counts()

        def tell(frame_result: FrameResult) -> None:
            if gate.is_open and frame_result.results:
                # Made of times that nobody knows.
                return
            compared.made.extend(map(digest, frame_result.results))
            each(frame_result)

        lock = TurnLock(gate.enter, gate.leave)
        pipeline = Pipeline(segmenter, self.facts.config, gate.time_ns, tell, counts, lock)
        turns = 0
        try:
            for turn in self._turns(compared):
                if stop is not None and stop.is_set():
                    break
                counts.frames += turn.frame is not None
                if not gate.play(turn, partial(_give, pipeline, turn)):
                    break
                turns += 1
                compared.compare()
        finally:
            gate.open()
            pipeline.close()
        compared.compare()
        if gate.complaint:
            raise InputError(
                f"{self._name} goes another way here after {turns} turns: {gate.complaint}",
                path=self._name,
                hint="repeat it with the version, the model and the engine that recorded it",
            )
        if self._file.damage:
            notes = (*notes, f"{self._name} is repeated up to the {turns}th turn: {self._file.damage}")
        report = pipeline.report(monotonic() - began_s, 0)
        return Repeated(turns, compared.equal, compared.other, notes, report)

    def _turns(self, compared: _Compared) -> Iterator[Turn]:
        """The turns, with their frames; digests of results go to `compared`."""
        image, frame, expected = b"", None, 0
        for message in self._file.messages(TOPICS):
            content = message.content
            try:
                if message.topic == "/camera":
                    image = content
                elif message.topic == "/frames":
                    frame = to_frame(content, image, self._name)
                elif message.topic == "/results":
                    compared.recorded.append(str(content["digest"]))
                else:
                    if content["n"] != expected:
                        raise ValueError(f"turn {content['n']} comes after {expected - 1}")
                    expected += 1
                    yield Turn.from_json(content, frame if "frame" in content else None)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(
                    f"{self._name} says nothing sound of turn {expected}: {error!r:.100}", path=self._name
                ) from error


def _give(pipeline: Pipeline, turn: Turn) -> None:
    """Put in what came from outside."""
    if turn.frame is not None:
        for t_ns, rates_rad_s in turn.rotations:
            pipeline.turning.push(t_ns, rates_rad_s)
        pipeline.frames.put(turn.frame)
    if turn.call is not None:
        method = getattr(pipeline, turn.call.what)
        # Following without a mask was refused then as well.
        with suppress(InputError):
            method(turn.call.given)
