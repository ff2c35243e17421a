"""The threads round the scheduler.

    frame ─▶ Slot ─▶ see ────▶ Scene ─▶ encode ─▶ Scene
    gaze ──▶ filters ─▶ scheduler ───▶ decode ─▶ FrameResult ─▶ whoever listens

Three threads: `see` measures the camera's motion on each new frame, `encode` runs the encoder, `decode` answers
and carries. Who gives a frame or a sample never waits for an engine. All meet in one lock, held for
microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Condition, Thread, current_thread
from time import perf_counter_ns
from typing import Any

from sam_edge.segmenter import Segmenter
from sam_edge.streaming.clocks import DelayOffset
from sam_edge.streaming.gaze.filters.chain import Filtered, GazeState
from sam_edge.streaming.gaze.filters.chain import step as filter_gaze
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.answers import Answerer, Clock, InForce
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.report import Counts, StreamReport
from sam_edge.streaming.live.scene import Scene
from sam_edge.streaming.live.scheduler import (
    BoxesCame,
    BudgetChanged,
    Carry,
    Decode,
    DecodeDone,
    Encode,
    EncodeDone,
    Event,
    FrameCame,
    GazeCame,
    State,
    step,
)
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.slot import Slot
from sam_edge.streaming.sources.source import Frame

CLOSE_S = 10.0
"""So long the end waits for an engine that is at work."""


class Pipeline:
    """Frames, gaze and boxes in, results out.

    Args:
        segmenter: warm for the frames that will come.
        config: thresholds and limits.
        clock: nanoseconds of this machine's monotonic clock.
        tell: called with every result, on the decoder's thread; what it raises is counted and changes nothing.
        counts: where everything is counted.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        config: StreamConfig,
        clock: Clock,
        tell: Callable[[FrameResult], None],
        counts: Counts,
    ) -> None:
        self._segmenter, self._config, self._clock = segmenter, config, clock
        self._tell, self._counts = tell, counts
        self._answerer = Answerer(segmenter, clock, config.choice, config.foveation, config.freshness)
        self._lock = Condition()
        self._state = State(config.scheduler)
        self._scene = Scene()
        self._filters = GazeState()
        self._offset = DelayOffset()
        self._look: Filtered | None = None
        self._boxes: tuple[TrackedBox, ...] = ()
        self._in_force: InForce | None = None
        self._shown: Scene | None = None
        self.frames: Slot[Frame] = Slot()
        self._encodes: Slot[Scene] = Slot()
        self._decodes: Slot[Decode | Carry] = Slot()
        works: Sequence[tuple[str, Slot[Any], Callable[[Any], None]]] = (
            ("see", self.frames, self._see),
            ("encode", self._encodes, self._encode),
            ("decode", self._decodes, self._decode),
        )
        self._threads = [
            Thread(target=_loop, args=(slot, work), name=f"sam-edge {name}", daemon=True)
            for name, slot, work in works
        ]
        for thread in self._threads:
            thread.start()

    @property
    def frame_wh(self) -> tuple[int, int] | None:
        """Width and height of the newest frame; None before the first."""
        return self._scene.frame_wh

    def gaze(self, sample: GazeSample) -> None:
        """Take a sample in; what cannot be used is counted."""
        start = perf_counter_ns()
        now_ns = self._clock()
        with self._lock:
            wh = self._scene.frame_wh
            if wh is None:
                self._counts.drop("gaze before the first frame")
                return
            sample = self._on_our_clock(sample, now_ns)
            before = self._filters.drops
            self._filters, look = filter_gaze(
                self._filters, sample, wh, self._config.gaze, flow_px_s=self._scene.flow_px_s
            )
            self._counts.look(look)
            drops = self._filters.drops
            if drops["late"] > before["late"] or drops["repeated"] > before["repeated"]:
                return
            self._look = look
            if not is_looking(look):
                # The eye is lost or looks past the image: nothing is masked any more.
                self._in_force = None
            self._apply(GazeCame(now_ns, sample.t_ns, look.action))
        self._counts.took("bookkeeping", (perf_counter_ns() - start) / 1e6)

    def boxes(self, boxes: Sequence[TrackedBox]) -> None:
        """Take in where an object tracker sees its objects, all at one time."""
        now_ns = self._clock()
        with self._lock:
            if self._scene.frame is None:
                self._counts.drop("boxes before the first frame")
                return
            self._boxes = tuple(boxes)
            self._apply(BoxesCame(now_ns, max((box.t_ns for box in boxes), default=now_ns)))

    def allow(self, encodes_per_s: float) -> None:
        """What a temperature or power budget allows from now on."""
        with self._lock:
            self._apply(BudgetChanged(self._clock(), encodes_per_s))

    def report(self, seconds: float, unread: int) -> StreamReport:
        """What happened in so many seconds."""
        with self._lock:
            gaze_drops = {f"gaze {reason}": count for reason, count in self._filters.drops.items() if count}
            return self._counts.report(seconds, self.frames.replaced, unread, gaze_drops)

    def drain(self, timeout_s: float) -> None:
        """Wait until everything that came is answered, or for so many seconds."""
        with self._lock:
            self._lock.wait_for(
                lambda: (
                    self._counts.seen >= self._counts.frames - self.frames.replaced
                    and self._state.encoding_ns is None
                    and not self._state.decoding
                ),
                timeout_s,
            )

    def close(self) -> bool:
        """End the threads; whether all have ended. An engine at work is waited for."""
        for slot in (self.frames, self._encodes, self._decodes):
            slot.close()
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(CLOSE_S)
        return not any(thread.is_alive() for thread in self._threads)

    def _on_our_clock(self, sample: GazeSample, now_ns: int) -> GazeSample:
        receive_ns = sample.receive_ns or now_ns
        if sample.clock != "source":
            return sample if sample.receive_ns else replace(sample, receive_ns=receive_ns)
        self._offset = self._offset.after(sample.t_ns, receive_ns)
        offset_ns = self._offset.offset_ns or 0
        return replace(sample, t_ns=sample.t_ns + offset_ns, offset_ns=offset_ns, receive_ns=receive_ns)

    def _apply(self, event: Event) -> None:
        """Take an event in and hand the decisions on; the lock is held."""
        self._state, decisions = step(self._state, event)
        for decision in decisions:
            if isinstance(decision, Encode):
                self._encodes.put(self._scene)
            else:
                self._decodes.put(decision)
        self._lock.notify_all()

    def _see(self, frame: Frame) -> None:
        start = perf_counter_ns()
        try:
            seen = self._scene.seen(frame)
            moved, changed = seen.since_embedding()
        except Exception as error:  # what a camera gives must not end the stream
            self._counts.fail("motion", error)
            return
        self._counts.took("motion", (perf_counter_ns() - start) / 1e6)
        with self._lock:
            self._counts.seen += 1
            if seen.frame_wh != self._scene.frame_wh:
                # Nothing of before can be carried to frames of another size.
                self._in_force = None
                self._state = replace(self._state, embedding_ns=None)
            self._end_of_silence()
            # The encoder may have finished meanwhile.
            self._scene = seen.with_embedding_of(self._scene)
            self._apply(FrameCame(self._clock(), frame.capture_ns, moved, changed))

    def _end_of_silence(self) -> None:
        """A tracker that sends nothing has lost the eye as much as one that says so; the lock is held."""
        look, now_ns = self._look, self._clock()
        if look is None or now_ns - look.sample.receive_ns <= self._config.gaze.blink_hold_ms * 1e6:
            return
        self._counts.drop("looks that nothing followed")
        self._look, self._in_force = None, None
        self._apply(GazeCame(now_ns, look.sample.t_ns, "skip"))

    def _encode(self, scene: Scene) -> None:
        start = perf_counter_ns()
        frame, embedding = scene.frame, None
        assert frame is not None, "the scheduler saw one"
        with self._lock:
            look, in_force = self._look, self._in_force
        try:
            before = None if scene.embedding is None else scene.embedding.view
            view = self._answerer.view(scene, look, in_force, before)
            embedding = self._segmenter.encode(frame.image, view, capture_ns=frame.capture_ns)
        except Exception as error:  # an engine that fails once may recover
            self._counts.fail("encode", error)
        encode_ms = (perf_counter_ns() - start) / 1e6
        with self._lock:
            if embedding is not None:
                self._counts.took("encode", encode_ms)
                self._counts.encoded += 1
                self._scene = self._scene.encoded(embedding, scene, encode_ms)
            of_use = embedding is not None and self._scene.embedding is embedding
            self._apply(EncodeDone(self._clock(), frame.capture_ns, of_use))

    def _decode(self, task: Decode | Carry) -> None:
        with self._lock:
            scene, look, boxes, in_force = self._scene, self._look, self._boxes, self._in_force
        try:
            if isinstance(task, Carry):
                self._emit(scene, self._standing(scene, look, in_force))
            elif task.what == "boxes":
                results, admitted = self._answerer.boxes(scene, boxes)
                self._counts.boxes(admitted)
                self._emit(scene, results)
            elif look is not None:
                result, stands = self._answerer.look(scene, look, in_force)
                with self._lock:
                    # Unless the eye was lost meanwhile.
                    self._in_force = stands if self._look is not None and is_looking(self._look) else None
                self._emit(scene, [result])
        except Exception as error:  # an engine that fails once may recover
            self._counts.fail("decode", error)
        with self._lock:
            self._apply(DecodeDone(self._clock()))

    def _standing(self, scene: Scene, look: Filtered | None, in_force: InForce | None) -> list[Result]:
        """What a new frame shows without a new decode."""
        if in_force is not None:
            return [self._answerer.carried(scene, in_force)]
        if look is None or is_looking(look):
            return []
        return [self._answerer.nothing(scene, look)]

    def _emit(self, scene: Scene, results: Sequence[Result]) -> None:
        """Tell results, and before them that the frame of the results before is over."""
        assert scene.frame is not None, "the scheduler saw one"
        for result in results:
            self._counts.result(result)
        if self._shown is not None and self._shown.frame is not scene.frame:
            self._say(self._shown, [], last=True)
        self._shown = scene
        if results:
            self._say(scene, results, last=False)

    def _say(self, scene: Scene, results: Sequence[Result], *, last: bool) -> None:
        assert scene.frame is not None, "there was one"
        is_encoded = scene.embedding is not None and scene.embedding.capture_ns == scene.frame.capture_ns
        encode_ms = scene.encode_ms if is_encoded else None
        start = perf_counter_ns()
        try:
            self._tell(FrameResult(scene.frame, encode_ms, tuple(results), last))
        except Exception as error:  # a listener's mistake must not end the stream
            self._counts.fail("listener", error)
        self._counts.took("publish", (perf_counter_ns() - start) / 1e6)


def is_looking(look: Filtered) -> bool:
    """Whether an eye looks into the frame, or did a blink ago."""
    return look.phase not in ("outside", "no_gaze")


def _loop(slot: Slot[Any], work: Callable[[Any], None]) -> None:
    while (item := slot.take()) is not None:
        work(item)
