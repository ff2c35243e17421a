"""A sink in a thread of its own: one that stalls or fails loses its own output, never the stream.

    stream ─▶ write (never waits) ─▶ mailbox, a few frames ─▶ thread ─▶ sink

What waits is bounded, and the newest wins: when a frame comes and the mailbox is full, the frame that has
waited longest goes, with its results. Parts of one frame that wait are joined, so a slow sink sees fewer and
larger parts and still every last one; only when too many results wait do the oldest of them go. So what arrives
is in the order of time, and nothing in it is halved: a sink only ever misses frames, or parts of them, which
every sink must bear (`Sink.write`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Condition, Thread
from types import TracebackType

from sam_edge.errors import OutputError
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.sink import FullDiskError, OpenSink, RunSink, Sink, find_sink

MAX_FRAMES = 3
"""So many frames wait for the sink, besides the one it works on."""
MAX_RESULTS = 16
"""Results with their masks are large: so many wait, on all those frames together."""
OPEN_S, WRITE_S, FINISH_S = 30.0, 5.0, 60.0
"""How long opening, the writes that wait at the end, and finishing the file may take."""


@dataclass(frozen=True)
class SinkReport:
    """How a sink ended."""

    name: str
    lost_results: int
    """Results that were never written, because the sink was too slow or had ended."""
    lost_frames: int
    """Frames that were never written for the same reason."""
    error: Exception | None
    """Why it ended before the stream; None also where its reader has left."""

    def __str__(self) -> str:
        """One line for people; empty where all went well."""
        words = []
        if self.error is not None:
            words.append(str(self.error))
        if self.lost_results or self.lost_frames:
            words.append(f"{self.lost_results} results and {self.lost_frames} frames were not written")
        return f"{self.name}: {'; '.join(words)}" if words else ""


class ThreadedSink:
    """Opens a sink in a thread, hands it what comes, and closes it there.

    Args:
        name: what `find_sink` finds, or any name together with `opener`.
        frame_wh: width and height of the frames.
        fps: frames per second.
        run: told to sinks that keep it, see `RunSink`.
        opener: opens the sink; None: `find_sink`.

    Raises:
        InputError: no sink has such a name.
        OutputError: the sink cannot be opened.
        MissingExtraError: it needs a library of an extra.
    """

    def __init__(
        self,
        name: str,
        frame_wh: tuple[int, int],
        fps: float,
        *,
        run: Mapping[str, str] | None = None,
        opener: OpenSink | None = None,
    ) -> None:
        self.name = name
        self._changed = Condition()
        self._waiting: deque[FrameResult] = deque()
        self._lost_results = self._lost_frames = 0
        self._error: Exception | None = None
        self._is_open = self._takes = False
        self._is_closing = self._is_drained = self._has_ended = False
        self._keeps = True
        open_sink = opener or find_sink(name)
        self._thread = Thread(
            target=self._live, args=(open_sink, frame_wh, fps, run or {}), name=f"sink {name}", daemon=True
        )
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._is_open or self._has_ended, OPEN_S)
            if not self._is_open:
                raise self._error or OutputError(f"{name} did not open within {OPEN_S:.0f} seconds")

    @property
    def lost(self) -> int:
        """How many results were not written so far, and never will be."""
        with self._changed:
            return self._lost_results

    @property
    def lost_frames(self) -> int:
        """How many frames were not written so far, and never will be."""
        with self._changed:
            return self._lost_frames

    @property
    def has_ended(self) -> bool:
        """Whether nothing is written any more: it failed, its reader has left, or it is closed."""
        with self._changed:
            return not self._takes

    def write(self, frame_result: FrameResult) -> None:
        """Leave a part of a frame for the sink. Returns at once, and never raises."""
        with self._changed:
            if not self._takes:
                self._lose(frame_result)
                return
            newest = self._waiting.pop() if self._waiting else None
            if newest is None:
                self._waiting.append(frame_result)
            elif newest.frame.index == frame_result.frame.index:
                self._waiting.append(_joined(newest, frame_result))
            else:
                self._waiting += [newest, frame_result]
            self._make_room()
            self._changed.notify_all()

    def close(self, *, keep: bool = True, write_s: float = WRITE_S, finish_s: float = FINISH_S) -> SinkReport:
        """Let the sink write what waits and finish its output. Never raises, and never hangs.

        A sink that is still at it when the time is over is left alone; what it wrote is not complete then.

        Args:
            keep: False: the stream has failed, and what was written goes, as on any failure.
            write_s: seconds for writing what waits.
            finish_s: seconds for finishing the output after that.
        """
        with self._changed:
            self._takes, self._is_closing, self._keeps = False, True, self._keeps and keep
            if not keep:
                self._lose_waiting()
            self._changed.notify_all()
            if self._changed.wait_for(lambda: self._is_drained, write_s):
                self._changed.wait_for(lambda: self._has_ended, finish_s)
            if not self._has_ended:
                self._lose_waiting()
                self._error = self._error or OutputError(f"{self.name} did not take its output in time")
            return SinkReport(self.name, self._lost_results, self._lost_frames, self._error)

    def __enter__(self) -> ThreadedSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close(keep=error is None)

    def _live(self, open_sink: OpenSink, frame_wh: tuple[int, int], fps: float, run: Mapping[str, str]) -> None:
        """The thread: the sink lives from the first line to the last."""
        try:
            with open_sink(self.name, frame_wh, fps) as sink:
                if isinstance(sink, RunSink):
                    sink.describe(run)
                with self._changed:
                    self._is_open = self._takes = True
                    self._changed.notify_all()
                self._write_all(sink)
                with self._changed:
                    self._takes, self._is_drained = False, True
                    self._changed.notify_all()
                    self._lose_waiting()
                    self._changed.wait_for(lambda: self._is_closing)
                    if not self._keeps:
                        raise _UnwantedError
        except _UnwantedError:
            pass
        except Exception as error:  # told at the end: the stream goes on
            with self._changed:
                self._error = self._error or error
        finally:
            with self._changed:
                self._takes, self._is_drained, self._has_ended = False, True, True
                self._lose_waiting()
                self._changed.notify_all()

    def _write_all(self, sink: Sink) -> None:
        """Write until the end of the stream, or until the sink can take no more and its output is kept."""
        while (part := self._take()) is not None:
            try:
                sink.write(part)
            except Exception as error:
                with self._changed:
                    self._takes = False
                    self._lose(part)
                    if isinstance(error, FullDiskError):
                        self._error = OutputError(f"{error}; what came before is kept")
                if not isinstance(error, (FullDiskError, BrokenPipeError)):
                    raise
                return

    def _take(self) -> FrameResult | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            return self._waiting.popleft() if self._waiting else None

    def _make_room(self) -> None:
        while len(self._waiting) > MAX_FRAMES:
            self._lose(self._waiting.popleft())
        excess = sum(len(part.results) for part in self._waiting) - MAX_RESULTS
        for at, part in enumerate(self._waiting):
            if excess <= 0:
                break
            dropped = min(excess, len(part.results))
            self._waiting[at] = replace(part, results=part.results[dropped:])
            self._lost_results += dropped
            excess -= dropped

    def _lose(self, part: FrameResult) -> None:
        self._lost_results += len(part.results)
        self._lost_frames += part.last

    def _lose_waiting(self) -> None:
        while self._waiting:
            self._lose(self._waiting.popleft())


class _UnwantedError(Exception):
    """Makes a sink throw away what it wrote."""


def _joined(part: FrameResult, later: FrameResult) -> FrameResult:
    """Two parts of a frame as one."""
    encode_ms = part.encode_ms if later.encode_ms is None else later.encode_ms
    return FrameResult(later.frame, encode_ms, part.results + later.results, part.last or later.last)
