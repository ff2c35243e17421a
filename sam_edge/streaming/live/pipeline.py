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
from sam_edge.streaming.answers.answerer import Answerer, Clock, InForce
from sam_edge.streaming.answers.following import follow
from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.answers.trail import Trail
from sam_edge.streaming.gaze.filters.chain import Filtered
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.gaze_entry import GazeEntry, is_looking
from sam_edge.streaming.live.objects import Objects
from sam_edge.streaming.live.played import Played
from sam_edge.streaming.live.report import Counts, StreamReport
from sam_edge.streaming.live.scheduler import (
    BudgetChanged,
    Carry,
    Decode,
    DecodeDone,
    Encode,
    EncodeDone,
    Event,
    FrameCame,
    GazeCame,
    ObjectsMoved,
    State,
    step,
)
from sam_edge.streaming.live.teller import Teller
from sam_edge.streaming.live.turning import Turning
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
        lock: what the threads meet in; a recorded stream keeps the order by it (`streaming/session`).
    """

    def __init__(
        self,
        segmenter: Segmenter,
        config: StreamConfig,
        clock: Clock,
        tell: Callable[[FrameResult], None],
        counts: Counts,
        lock: Condition | None = None,
    ) -> None:
        self._segmenter, self._config, self._clock = segmenter, config, clock
        self._counts = counts
        self._answerer = Answerer(
            segmenter, clock, config.gaze, config.choice, config.foveation, config.freshness
        )
        self._lock = lock or Condition()
        self._state = State(config.scheduler)
        self._scene = Scene()
        self._gaze = GazeEntry(config.gaze, counts)
        self.turning = Turning(config.gaze)
        self._look: Filtered | None = None
        self._trail = Trail()
        self._objects = Objects()
        self._early: GazeSample | None = None
        self._in_force: InForce | None = None
        self._teller = Teller(tell, counts)
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
    def scene(self) -> Scene:
        """What is known of now."""
        return self._scene

    def gaze(self, sample: GazeSample) -> None:
        """Take a sample in; what cannot be used is counted."""
        start = perf_counter_ns()
        now_ns = self._clock()
        with self._lock:
            if self._scene.frame is None:
                # Until there is a frame, the newest sample waits for it.
                self._early = sample if sample.receive_ns else replace(sample, receive_ns=now_ns)
            else:
                self._take(sample, now_ns)
        self._counts.took("bookkeeping", (perf_counter_ns() - start) / 1e6)

    def _take(self, sample: GazeSample, now_ns: int) -> None:
        """Take a sample in when there is a frame; the lock is held."""
        wh = self._scene.frame_wh
        assert wh is not None, "there is a frame"
        look = self._gaze.take(sample, now_ns, wh, self._scene.flow_px_s)
        if look is None:
            return
        self._look, self._trail = look, self._trail.then(look)
        if not is_looking(look):
            # The eye is lost or looks past the image: nothing is masked any more.
            self._in_force = None
        self._apply(GazeCame(now_ns, look.sample.t_ns, look.action))

    def boxes(self, boxes: Sequence[TrackedBox]) -> None:
        """Take in where an object tracker sees its objects, all at one time."""
        now_ns = self._clock()
        with self._lock:
            self._objects.told(boxes, now_ns)
            self._apply(ObjectsMoved(now_ns))

    def keep(self, object_id: int) -> None:
        """Follow what is masked now, also when the gaze leaves it.

        Raises:
            InputError: nothing is masked, or too many objects are followed.
        """
        with self._lock:
            self._objects.keep(object_id, self._in_force)

    def drop(self, object_id: int) -> None:
        """Follow an object no longer; one that is not followed changes nothing."""
        with self._lock:
            self._objects.drop(object_id)

    def allow(self, encodes_per_s: float) -> None:
        """What a temperature or power budget allows from now on."""
        with self._lock:
            self._apply(BudgetChanged(self._clock(), encodes_per_s))

    def report(self, seconds: float, unread: int, sources: Played | None = None) -> StreamReport:
        """What happened in so many seconds."""
        with self._lock:
            return self._counts.report(
                seconds, self.frames.replaced, unread, self._gaze.drops, sources or Played()
            )

    def drain(self, timeout_s: float) -> None:
        """Wait until everything that came is answered, or for so many seconds."""

        def is_answered() -> bool:
            all_seen = self._counts.seen >= self._counts.frames - self.frames.replaced
            return all_seen and self._state.encoding_ns is None and not self._state.decoding

        with self._lock:
            self._lock.wait_for(is_answered, timeout_s)

    def close(self) -> bool:
        """End the threads; whether all have ended. An engine at work is waited for."""
        for slot in (self.frames, self._encodes, self._decodes):
            slot.close()
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(CLOSE_S)
        # Who closes the stream from a result's callback is one of them.
        if any(thread.is_alive() for thread in self._threads if thread is not current_thread()):
            return False
        self._teller.end()
        return True

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
        with self._lock:
            scene, newest = self._scene, self._scene.frame
        if newest is not None and frame.capture_ns == newest.capture_ns:
            self._counts.drop("frames that came again")
            self._seen_one()
            return
        try:
            wh = (frame.image.shape[1], frame.image.shape[0])
            seen = scene.seen(frame, self.turning.gyroscope(wh))
            moved, changed = seen.since_embedding()
        except Exception as error:  # what a camera gives must not end the stream
            self._counts.fail("motion", error)
            self._seen_one()
            return
        self._counts.took("motion", (perf_counter_ns() - start) / 1e6)
        with self._lock:
            self._counts.seen += 1
            self._end_of_silence()
            if newest is not None and len(seen.captures_ns) == 1:
                # A new history: nothing of before can be carried into it.
                self._counts.drop("histories, by another frame size or time")
                self._in_force = None
                self._state = replace(self._state, embedding_ns=None)
                self._scene = seen
            else:
                # The encoder may have finished meanwhile.
                self._scene = seen.with_embedding_of(self._scene)
            self._apply(FrameCame(self._clock(), frame.capture_ns, moved, changed))
            if self._early is not None:
                early, self._early = self._early, None
                self._take(early, early.receive_ns)

    def _seen_one(self) -> None:
        with self._lock:
            self._counts.seen += 1
            self._lock.notify_all()

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
            if self._objects.are_shown(self._clock(), self._config.scheduler.idle_s):
                look = None  # A window round the gaze would not show them.
        try:
            before = None if scene.embedding is None else scene.embedding.view
            view = self._answerer.view(scene, look, self._trail, in_force, before)
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
            if of_use and self._objects.kept:
                self._apply(ObjectsMoved(self._clock()))

    def _decode(self, task: Decode | Carry) -> None:
        with self._lock:
            scene, look, trail, in_force = self._scene, self._look, self._trail, self._in_force
            boxes = None
            if task == Decode("objects"):
                boxes = self._objects.take_boxes()
        try:
            if isinstance(task, Carry):
                self._teller.emit(scene, self._standing(scene, look, trail, in_force))
            elif scene.embedding is None:  # Frames of another size came meanwhile.
                pass
            elif task.what == "objects":
                self._teller.emit(scene, self._answer_objects(scene, boxes))
            elif look is not None:
                result, stands = self._answerer.look(scene, look, trail, in_force)
                with self._lock:
                    # Unless the eye was lost meanwhile.
                    self._in_force = stands if self._look is not None and is_looking(self._look) else None
                self._teller.emit(scene, [result])
        except Exception as error:  # an engine that fails once may recover
            self._counts.fail("decode", error)
        with self._lock:
            self._apply(DecodeDone(self._clock()))

    def _answer_objects(self, scene: Scene, boxes: tuple[TrackedBox, ...] | None) -> list[Result]:
        """Masks of a tracker's boxes, if there are newer ones, and of what is followed."""
        results: list[Result] = []
        if boxes is not None:
            results, admitted = self._answerer.boxes(scene, boxes)
            self._counts.boxes(admitted)
        with self._lock:
            kept = self._objects.kept
        if kept:
            found, followed = follow(self._answerer, scene, kept, self._config.follow)
            with self._lock:
                self._objects.found(kept, found)
            results += followed
        return results

    def _standing(
        self, scene: Scene, look: Filtered | None, trail: Trail, in_force: InForce | None
    ) -> list[Result]:
        """What a new frame shows without a new decode."""
        if in_force is not None:
            return [self._answerer.carried(scene, in_force, trail)]
        if look is None or is_looking(look):
            return []
        return [self._answerer.nothing(scene, look)]


def _loop(slot: Slot[Any], work: Callable[[Any], None]) -> None:
    while (item := slot.take()) is not None:
        work(item)
