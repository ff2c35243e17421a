"""A pipeline that tells its turns, and the thread that writes them: recording never makes a stream wait."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Condition, Thread, current_thread, get_native_id, local
from typing import Protocol

from sam_edge.errors import OutputError
from sam_edge.imaging.image import decode_image
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.answers.answerer import Clock
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.pipeline import Pipeline
from sam_edge.streaming.live.report import Counts
from sam_edge.streaming.live.turning import WAITING, Turning
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.session.images import Frames, to_file
from sam_edge.streaming.session.journal import (
    Call,
    Rotation,
    Turn,
    TurnLock,
    Who,
    plain_box,
    plain_sample,
    who_runs,
)
from sam_edge.streaming.sinks.sink import FullDiskError
from sam_edge.streaming.sinks.threaded import SinkReport
from sam_edge.streaming.sources.source import Frame

MAX_WAITING_BYTES = 256_000_000
"""Frames that wait for the disk: three seconds of 1280 x 720 at 30 a second."""
TURN_BYTES = 500
"""What a turn or a result takes besides its frame."""
NICE = 10
WRITE_S = 60.0
"""So long the end waits for what is not written yet."""


class Writer(Protocol):
    """Writes a recording in the order of what happened."""

    def turn(self, turn: Turn) -> None: ...

    def results(self, frame_result: FrameResult) -> None: ...


class Recorder:
    """Takes what happens and writes it in a thread of its own. It takes all or ends: a recording with a hole
    could not be repeated.

    Args:
        name: what errors call the recording.
        writer: opened and closed in the thread; what is written is kept however the block ends.
        frames: how frames are kept.
    """

    def __init__(
        self, name: str, writer: Callable[[], AbstractContextManager[Writer]], frames: Frames = "png"
    ) -> None:
        self.name, self.frames = name, frames
        self._open = writer
        self._changed = Condition()
        self._waiting: deque[Turn | FrameResult] = deque()
        self._waiting_bytes = 0
        self._lost_frames = self._lost_results = 0
        self._takes, self._is_open, self._is_closing = True, False, False
        self._error: Exception | None = None
        self._thread = Thread(target=self._live, name=f"record {name}", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._is_open or not self._takes, WRITE_S)
            if not self._is_open:
                raise self._error or OutputError(f"{name} did not open within {WRITE_S:.0f} seconds")

    def pipeline(
        self,
        segmenter: Segmenter,
        config: StreamConfig,
        clock: Clock,
        tell: Callable[[FrameResult], None],
        counts: Counts,
    ) -> Pipeline:
        """A pipeline that is recorded; `Stream` takes this as its `pipeline`."""
        return _RecordedPipeline(self, segmenter, config, clock, tell, counts)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is recorded any more."""
        with self._changed:
            return not self._takes

    def put(self, item: Turn | FrameResult) -> None:
        """Leave something to be written. Returns at once, and never raises."""
        size = _size(item)
        with self._changed:
            if self._takes and self._waiting_bytes + size > MAX_WAITING_BYTES:
                self._takes = False
                self._error = OutputError(
                    f"{self.name} ends here: frames come faster than they can be written",
                    hint="record JPEGs, with ?frames=jpeg",
                )
            if not self._takes:
                self._lose(item)
                return
            self._waiting.append(item)
            self._waiting_bytes += size
            self._changed.notify_all()

    def close(self) -> SinkReport:
        """Write what waits and finish the file; says how it ended. Never raises."""
        with self._changed:
            self._takes, self._is_closing = False, True
            self._changed.notify_all()
        self._thread.join(WRITE_S)
        with self._changed:
            if self._thread.is_alive():
                self._error = self._error or OutputError(f"{self.name} was not written in time")
            return SinkReport(self.name, self._lost_results, self._lost_frames, self._error)

    def _live(self) -> None:
        with suppress(OSError, AttributeError):
            # Of this thread alone, on Linux: where cores are few, masks go first and frames wait.
            os.setpriority(os.PRIO_PROCESS, get_native_id(), NICE)
        try:
            with self._open() as writer:
                with self._changed:
                    self._is_open = True
                    self._changed.notify_all()
                self._write_all(writer)
        except Exception as error:  # told at the end: the stream goes on
            self._end(error)

    def _write_all(self, writer: Writer) -> None:
        while (item := self._take()) is not None:
            try:
                if isinstance(item, Turn):
                    writer.turn(item)
                else:
                    writer.results(item)
            except Exception as error:  # what is written is kept
                what = error.what if isinstance(error, OutputError) else str(error)
                kept = isinstance(error, (FullDiskError, OutputError))
                self._end(OutputError(f"{what}; what came before is kept") if kept else error)
                return

    def _end(self, error: Exception) -> None:
        with self._changed:
            self._takes, self._error = False, self._error or error
            for item in self._waiting:
                self._lose(item)
            self._waiting.clear()
            self._changed.notify_all()

    def _take(self) -> Turn | FrameResult | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing or not self._takes)
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._waiting_bytes -= _size(item)
            return item

    def _lose(self, item: Turn | FrameResult) -> None:
        if isinstance(item, FrameResult):
            self._lost_results += len(item.results)
        else:
            self._lost_frames += item.frame is not None


def _size(item: Turn | FrameResult) -> int:
    if isinstance(item, Turn):
        return TURN_BYTES + (0 if item.frame is None else item.frame.image.nbytes)
    logits = (result.masks.logits.nbytes for result in item.results if result.masks is not None)
    return TURN_BYTES + sum(logits)


@dataclass
class _Turn:
    """A turn that is not over."""

    who: Who | None
    call: Call | None = None
    times_ns: list[int] = field(default_factory=list)
    frame: Frame | None = None
    file: bytes = b""
    rotations: tuple[Rotation, ...] = ()


class _RecordedPipeline(Pipeline):
    """Tells a recorder each turn and each result."""

    def __init__(
        self,
        recorder: Recorder,
        segmenter: Segmenter,
        config: StreamConfig,
        clock: Clock,
        tell: Callable[[FrameResult], None],
        counts: Counts,
    ) -> None:
        self._recorder, self._read_clock = recorder, clock
        self._mine = local()

        def tell_both(frame_result: FrameResult) -> None:
            if frame_result.results:
                recorder.put(frame_result)
            # What a listener asks on this thread is no turn of the decoder.
            with self._calling(None):
                tell(frame_result)

        lock = TurnLock(lambda: None, self._over)
        super().__init__(segmenter, config, self._tick, tell_both, counts, lock)
        self._turning = self.turning = _HeldTurning(config)

    def gaze(self, sample: GazeSample) -> None:
        sample = plain_sample(sample)
        with self._calling(Call("gaze", sample)):
            super().gaze(sample)

    def boxes(self, boxes: Sequence[TrackedBox]) -> None:
        boxes = tuple(map(plain_box, boxes))
        with self._calling(Call("boxes", boxes)):
            super().boxes(boxes)

    def keep(self, object_id: int) -> None:
        with self._calling(Call("keep", object_id)):
            super().keep(object_id)

    def drop(self, object_id: int) -> None:
        with self._calling(Call("drop", object_id)):
            super().drop(object_id)

    def allow(self, encodes_per_s: float) -> None:
        with self._calling(Call("allow", encodes_per_s)):
            super().allow(encodes_per_s)

    def _see(self, frame: Frame) -> None:
        turn = self._turn()
        if self._recorder.frames == "jpeg" and not self._recorder.has_ended:
            turn.file = to_file(frame.image, "jpeg")
            frame = replace(frame, image=decode_image(turn.file, "a frame"))
        turn.frame, turn.rotations = frame, self._turning.let_in()
        super()._see(frame)

    def _tick(self) -> int:
        now_ns = self._read_clock()
        self._turn().times_ns.append(now_ns)
        return now_ns

    def _over(self) -> None:
        """The end of a section; the lock is still held, so turns are told in their order."""
        turn = self._turn()
        self._mine.turn = _Turn(turn.who, turn.call)
        if turn.who is not None:
            self._recorder.put(Turn(**vars(turn) | {"times_ns": tuple(turn.times_ns)}))

    def _turn(self) -> _Turn:
        turn: _Turn | None = getattr(self._mine, "turn", None)
        if turn is None:
            turn = self._mine.turn = _Turn(who_runs(current_thread().name))
        return turn

    @contextmanager
    def _calling(self, call: Call | None) -> Iterator[None]:
        """What this thread does in the block is part of a call, or of nothing."""
        outer = self._turn()
        self._mine.turn = _Turn(None if call is None else "call", call)
        try:
            yield
        finally:
            self._mine.turn = outer


class _HeldTurning(Turning):
    """Holds samples back until it is known which frame they come before."""

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config.gaze)
        self._held: deque[Rotation] = deque(maxlen=WAITING)

    def push(self, t_ns: int, rates_rad_s: tuple[float, float, float]) -> None:
        self._held.append((t_ns, rates_rad_s))

    def let_in(self) -> tuple[Rotation, ...]:
        """Let those in that came so far; these are they."""
        came = tuple(self._held.popleft() for _ in range(len(self._held)))
        for one in came:
            super().push(*one)
        return came
