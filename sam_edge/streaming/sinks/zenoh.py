"""Results over Zenoh: `zenoh:PREFIX[?fps=10&connect=...]` publishes the messages of docs/zenoh.md.

What nobody has subscribed to is not made: neither JPEGs nor the run lengths of masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from time import monotonic_ns
from typing import Any

from sam_edge.errors import InputError, OutputError
from sam_edge.lazy import named_extras
from sam_edge.streaming.result import FrameResult, Result
from sam_edge.streaming.sinks.jpegs import MAX_FPS, Jpegs
from sam_edge.streaming.sinks.jsonl import ResultLines
from sam_edge.streaming.sources.options import read_fps
from sam_edge.streaming.sources.source import Frame
from sam_edge.streaming.zenoh.address import ZenohAddress, parse_zenoh
from sam_edge.streaming.zenoh.messages import VERSION, envelope, frame_header, packed, unix_offset_ns
from sam_edge.streaming.zenoh.session import zenoh_session

DEFAULT_FPS = 10.0
STATUS_S = 1.0
MAX_OBJECT_KEYS = 64
"""So many objects have a publisher at one time; the oldest one goes."""
CLOSE_S = 2.0


class ZenohSink:
    """Publishes to the keys of an address through an open session.

    Args:
        session: a `zenoh.Session`.
        address: whose prefix the keys have.
        frame_wh: width and height of the frames, for the status.
        fps: at most so many frames a second are published.
    """

    def __init__(self, session: Any, address: ZenohAddress, frame_wh: tuple[int, int], fps: float) -> None:
        import zenoh

        self._zenoh = zenoh
        self._session = session
        self._address = address
        self._mask = self._publisher("mask")
        self._frame = self._publisher("frame", priority=zenoh.Priority.DATA_LOW, encoding="image/jpeg")
        self._status = self._publisher("status", priority=zenoh.Priority.DATA)
        self._objects: dict[int, Any] = {}
        self._line = ResultLines()
        self._jpegs = Jpegs()
        self._period_ns = 1e9 / fps
        self._framed_ns = 0
        self._index: int | None = None
        self._facts: dict[str, Any] = {"frame_wh": frame_wh, "model": None}
        self._counts = {"frames": 0, "results": 0, "masks": 0}
        self._newest: Frame | None = None
        self._lock = Lock()
        self._ended = Event()
        self._teller = Thread(target=self._tell, name="zenoh status", daemon=True)
        self._teller.start()

    def describe(self, run: Mapping[str, str]) -> None:
        """Tell the model's id with the status."""
        with self._lock:
            self._facts["model"] = run.get("model")

    def write(self, frame_result: FrameResult) -> None:
        frame, offset_ns = frame_result.frame, unix_offset_ns()
        is_new = frame.index != self._index
        self._index = frame.index
        with self._lock:
            self._newest = frame
            self._counts["frames"] += is_new
            self._counts["results"] += len(frame_result.results)
            self._counts["masks"] += sum(result.masks is not None for result in frame_result.results)
        try:
            # A slow sink gets many results at once: of each object the newest counts.
            for result in {result.object_id: result for result in frame_result.results}.values():
                self._put_result(frame_result, result, offset_ns)
            if is_new:
                self._put_frame(frame, offset_ns)
        except self._zenoh.ZError as error:
            raise OutputError(f"zenoh:{self._address.prefix}: {error}") from error

    def close(self) -> None:
        """Say that it ends, and publish nothing more."""
        self._ended.set()
        self._teller.join(CLOSE_S)
        # The session may be gone already.
        with suppress(self._zenoh.ZError):
            self._put_status("ended")
            for publisher in (self._mask, self._frame, self._status, *self._objects.values()):
                publisher.undeclare()

    def _publisher(self, *key: str, priority: Any = None, encoding: str = "application/json") -> Any:
        zenoh = self._zenoh
        # Where the network is full, messages are dropped, and never wait for each other.
        return self._session.declare_publisher(
            self._address.key(*key),
            encoding=encoding,
            congestion_control=zenoh.CongestionControl.DROP,
            priority=zenoh.Priority.REAL_TIME if priority is None else priority,
            express=True,
        )

    def _put_result(self, frame_result: FrameResult, result: Result, offset_ns: int) -> None:
        publisher = self._mask if result.object_id is None else self._of_object(result.object_id)
        if not publisher.matching_status.matching:
            return
        frame = frame_result.frame
        head = envelope(result.t_ns if _is_live(frame) else None, offset_ns)
        head["frame_unix_ns"] = frame.capture_ns + offset_ns if _is_live(frame) else None
        head["frame_wh"] = (frame.image.shape[1], frame.image.shape[0])
        publisher.put(packed(head | self._line(frame_result, result)))

    def _of_object(self, object_id: int) -> Any:
        publisher = self._objects.get(object_id)
        if publisher is None:
            if len(self._objects) >= MAX_OBJECT_KEYS:
                self._objects.pop(next(iter(self._objects))).undeclare()
            publisher = self._objects[object_id] = self._publisher("mask", str(object_id))
        return publisher

    def _put_frame(self, frame: Frame, offset_ns: int) -> None:
        now_ns = monotonic_ns()
        # A little early is in time: cameras are not exact.
        if now_ns - self._framed_ns < 0.9 * self._period_ns or not self._frame.matching_status.matching:
            return
        jpeg = self._jpegs(frame)
        if jpeg is None:
            return
        self._framed_ns = now_ns
        height, width = frame.image.shape[:2]
        t_ns = frame.capture_ns if _is_live(frame) else None
        self._frame.put(jpeg, attachment=frame_header(frame.index, (width, height), t_ns, offset_ns))

    def _tell(self) -> None:
        with suppress(self._zenoh.ZError):
            self._put_status("running")
            while not self._ended.wait(STATUS_S):
                self._put_status("running")

    def _put_status(self, state: str) -> None:
        now_ns = monotonic_ns()
        with self._lock:
            newest, counts, facts = self._newest, dict(self._counts), dict(self._facts)
        live = newest is not None and _is_live(newest)
        age_ms = round((now_ns - newest.capture_ns) / 1e6, 1) if newest is not None and live else None
        head = envelope(now_ns, unix_offset_ns()) | {"state": state, "schema": VERSION}
        self._status.put(packed(head | facts | counts | {"frame_age_ms": age_ms}))


def _is_live(frame: Frame) -> bool:
    """Whether its times are on this machine's clock, and not on that of a recording."""
    return frame.receive_ns != 0


@contextmanager
def zenoh_sink(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[ZenohSink]:
    """A sink that publishes at `zenoh:PREFIX[?fps=...]`, see `parse_zenoh`.

    Raises:
        InputError: the address is wrong, or cannot be used now.
        MissingExtraError: eclipse-zenoh is not installed.
    """
    address, options = parse_zenoh(name, ("fps",))
    rate = read_fps(options, name) or DEFAULT_FPS
    if rate > MAX_FPS:
        raise InputError(f"{name}: fps={rate:g} is too much", hint=f"give {MAX_FPS:g} at most")
    with named_extras("zenoh"):
        import zenoh  # noqa: F401
    with zenoh_session(address) as session:
        sink = ZenohSink(session, address, frame_wh, rate)
        try:
            yield sink
        finally:
            sink.close()
