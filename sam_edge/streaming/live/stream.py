"""The face of a live stream: push frames, gaze and boxes; read masks."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import monotonic_ns
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.imaging.image import Layout, check_image, to_rgb
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import LiveGaze
from sam_edge.streaming.live.budget import Monitor
from sam_edge.streaming.live.config import StreamConfig
from sam_edge.streaming.live.pipeline import CLOSE_S, Pipeline
from sam_edge.streaming.live.played import played
from sam_edge.streaming.live.readers import Reader, Readers
from sam_edge.streaming.live.report import Counts, StreamReport
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.threaded import SinkReport
from sam_edge.streaming.sources.source import Frame, FrameSource

OTHER_CLOCK_NS = 60 * 10**9
"""A time that is farther from now is on another clock."""
LAST_ANSWER_S = 5.0
"""After the last frame of a recording, so long its answers are waited for."""


class Stream:
    """Masks of what is looked at now. Any thread may push, read and close; who pushes never waits for an
    engine.

    with sam_edge.Stream(sam_edge.load("nano", frame_wh=(1280, 720))) as stream:
        stream.push_frame(image_rgb)
        stream.push_gaze(640, 360)
        for result in stream: ...

    Args:
        segmenter: the model; `load(..., frame_wh=...)` makes it warm.
        config: thresholds and limits.
        each: called with every result, in the order they are made, on the decoder's thread: what it does delays
            the next mask. What it raises is counted and changes nothing else.
        clock: nanoseconds; a test may give its own.
        pipeline: makes what does the work; `Recorder.pipeline` makes one that is recorded.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        config: StreamConfig | None = None,
        *,
        each: Callable[[FrameResult], None] | None = None,
        clock: Callable[[], int] = monotonic_ns,
        pipeline: Callable[..., Pipeline] = Pipeline,
    ) -> None:
        self._clock = clock
        self._began_ns = clock()
        self._each = each
        self._lock = Lock()
        self._latest: Result | None = None
        self._readers = Readers()
        self.sink_reports: list[SinkReport] = []
        """How each sink ended, once the stream is closed."""
        self._closing_first: list[Callable[[], None]] = []
        self._closing_last: list[Callable[[], None]] = []
        self._is_closed = False
        self._ended = Event()
        self._sources: list[FrameSource | LiveGaze] = []
        self._frame_wh: tuple[int, int] | None = None
        # An engine that is at work when Python ends aborts it, and outputs would be lost.
        atexit.register(self.close)
        self._counts = Counts()
        config = config or StreamConfig()
        self._pipeline = pipeline(segmenter, config, clock, self._tell, self._counts)
        self.on_close(Monitor(config.budget, self._pipeline.allow).close)

    def push_frame(
        self, image: NDArray[np.uint8], capture_ns: int | None = None, *, layout: Layout = "rgb"
    ) -> None:
        """A newer camera frame. It waits in a slot of one: where frames come too fast, the newest is taken.

        Args:
            image: uint8, of the layout's shape, such as (H, W, 3) for rgb; nobody may change it afterwards.
            capture_ns: when it was taken, in `time.monotonic_ns`; None: now.
            layout: how the pixels lie in memory.

        Raises:
            InputError: not such an array, or a time that is on another clock.
        """
        now_ns = self._clock()
        rgb = to_rgb(check_image(image, layout=layout), layout)
        self.push(Frame(rgb, self._counts.frames, self._checked(capture_ns, now_ns), now_ns))

    def push_gaze(self, x_px: float, y_px: float, t_ns: int | None = None, *, confidence: float = 1.0) -> None:
        """Where the eye looks, in pixels of the camera's frame.

        Args:
            x_px: across, from the left edge.
            y_px: down, from the top edge.
            t_ns: when, in `time.monotonic_ns`; None: now.
            confidence: 0 (a blink, or the eye was not found) to 1.

        Raises:
            InputError: no frame was pushed yet, or a time that is on another clock.
        """
        if self._frame_wh is None:
            raise InputError("gaze in pixels before the first frame", hint="push a frame first")
        now_ns = self._clock()
        width, height = self._frame_wh
        t_ns = self._checked(t_ns, now_ns)
        self.push(GazeSample(t_ns, x_px / width, y_px / height, confidence, "host", receive_ns=now_ns))

    def push_boxes(self, boxes: Sequence[TrackedBox]) -> None:
        """Where an object tracker sees all of its objects at one time; an empty sequence: it sees none."""
        self._pipeline.boxes(boxes)

    def push_rotation(self, rates_rad_s: tuple[float, float, float], t_ns: int | None = None) -> None:
        """How the camera turns, by a gyroscope: it tells where to search for the camera's motion, and is its
        answer where nothing can be seen.

        Args:
            rates_rad_s: about the camera's axes, x to the right, y down, z ahead; a turn to the right is a
                positive y.
            t_ns: when, in `time.monotonic_ns`; None: now.
        """
        self._pipeline.turning.push(self._clock() if t_ns is None else t_ns, rates_rad_s)

    def follow(self, object_id: int) -> None:
        """Keep what is masked now under an id of yours, also when the gaze leaves it, until it is `lost`.

        Raises:
            InputError: nothing is masked, or 8 objects are followed already.
        """
        self._pipeline.keep(object_id)

    def unfollow(self, object_id: int) -> None:
        """Follow an object no longer; one that is not followed changes nothing."""
        self._pipeline.drop(object_id)

    def push(self, item: Frame | GazeSample) -> None:
        """A frame or a sample of a source. Nothing about it raises: what cannot be used is counted in
        `report`."""
        now_ns = self._clock()
        if isinstance(item, Frame):
            if abs(item.capture_ns - now_ns) > OTHER_CLOCK_NS:
                self._counts.drop("frames of another clock")
                return
            self._frame_wh = (item.image.shape[1], item.image.shape[0])
            self._counts.frames += 1
            self._pipeline.frames.put(item)
        elif item.clock != "source" and abs(item.t_ns - now_ns) > OTHER_CLOCK_NS:
            self._counts.drop("gaze of another clock")
        else:
            self._pipeline.gaze(item)

    def latest(self) -> Result | None:
        """The newest result; its ages are of the moment it was made. None before the first."""
        return self._latest

    @property
    def scene(self) -> Scene:
        """A snapshot of now: the newest frame, the newest embedding, and how the camera moved."""
        return self._pipeline.scene

    def results(self) -> Iterator[Result]:
        """Results from now on, as they are made, until the stream is closed; a slow reader misses the
        oldest."""
        return self._readers.iterate()

    @contextmanager
    def read_by(self, reader: Reader) -> Iterator[None]:
        """Give a reader every result until the block ends; it is closed with the stream."""
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.remove(reader)

    def __iter__(self) -> Iterator[Result]:
        return self.results()

    def report(self) -> StreamReport:
        """What happened so far."""
        seconds = (self._clock() - self._began_ns) / 1e9
        return self._pipeline.report(seconds, self._readers.missed, played(self._sources))

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended: it was closed, or its recording is over."""
        return self._is_closed

    def drain(self, timeout_s: float = 10.0) -> None:
        """Wait until everything that was pushed is answered, or for so many seconds."""
        self._pipeline.drain(timeout_s)

    def play(self, source: FrameSource | LiveGaze, *, ends: bool = False) -> None:
        """Push what a source gives, in a thread of its own, until it ends; it is closed with the stream.

        Args:
            source: frames or gaze. What it raises is counted among the errors of `report`.
            ends: whether the stream ends with it, once its last frame is answered.
        """

        def pump() -> None:
            try:
                for item in source:
                    self.push(item)
            except Exception as error:  # a source must not end the stream without a word
                self._counts.fail("source", error)
            if ends:
                self.drain(LAST_ANSWER_S)
                self.close()

        self._sources.append(source)
        self.on_close(source.close)
        Thread(target=pump, name="sam-edge source", daemon=True).start()

    def on_close(self, call: Callable[[], None], *, last: bool = False) -> None:
        """Call something when the stream is closed.

        Args:
            call: such as a source's `close`.
            last: after the last result, as sinks and models want it, instead of before everything else.
        """
        with self._lock:
            is_closed = self._is_closed
            (self._closing_last if last else self._closing_first).append(call)
        if is_closed:
            self._call([call])

    def close(self) -> None:
        """End the threads and every iteration; who closes it again waits until it is closed. An engine at work
        is waited for."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if not is_first:
            self._ended.wait(2 * CLOSE_S)
            return
        atexit.unregister(self.close)
        self._call(self._closing_first)
        all_ended = self._pipeline.close()
        self._readers.close()
        if all_ended:
            self._call(self._closing_last)
        self._ended.set()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, t_ns: int | None, now_ns: int) -> int:
        if t_ns is None:
            return now_ns
        if abs(t_ns - now_ns) > OTHER_CLOCK_NS:
            raise InputError(
                f"a time is {(t_ns - now_ns) / 1e9:+.0f} s from now",
                hint="give time.monotonic_ns(), or leave it out",
            )
        return t_ns

    def _call(self, closing: list[Callable[[], None]]) -> None:
        for call in closing:
            try:
                call()
            except Exception as error:  # the others must be closed too
                self._counts.fail("close", error)

    def _tell(self, frame_result: FrameResult) -> None:
        """A result, on the decoder's thread."""
        for result in frame_result.results:
            self._latest = result
            self._readers.put(result)
        if self._each is not None:
            self._each(frame_result)
