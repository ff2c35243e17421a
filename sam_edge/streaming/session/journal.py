"""What decides how a live run goes: the order in which its threads meet, and what each of them reads.

The threads of a `Pipeline` share what they know only in sections that hold its lock. What such a section does
follows from what was known before, from what came in, and from the clock. So a run is the same as another one
if its sections come in the same order and each thread reads the same times: a journal has one `Turn` for each
section.

    section 1: see       a frame
    section 2: call      a gaze sample, 1 time
    section 3: decode    ...

The way is that of record and replay by order of locks, as in LeBlanc and Mellor-Crummey, Debugging parallel
programs with Instant Replay (1987).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from threading import Condition
from types import TracebackType
from typing import Any, Literal, get_args

from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.sources.source import Frame

Who = Literal["see", "encode", "decode", "call"]
"""A thread of the pipeline, or whoever gives it something."""
Rotation = tuple[int, tuple[float, float, float]]
"""A time in ns, and how fast the camera turns, in rad/s about x, y and z."""
_THREADS: dict[str, Who] = {f"sam-edge {who}": who for who in get_args(Who)[:3]}


@dataclass(frozen=True)
class Call:
    """Something that was given to a pipeline."""

    what: Literal["gaze", "boxes", "keep", "drop", "allow"]
    """The method of `Pipeline`."""
    given: GazeSample | tuple[TrackedBox, ...] | int | float
    """Its argument."""


@dataclass(frozen=True, eq=False)
class Turn:
    """One section."""

    who: Who
    times_ns: tuple[int, ...] = ()
    """What its thread has read from the clock since its turn before, in this section as well."""
    frame: Frame | None = None
    """The frame that `see` has taken."""
    file: bytes = b""
    """That frame as an image file, where one was made already."""
    rotations: tuple[Rotation, ...] = ()
    """What a gyroscope had said before that."""
    call: Call | None = None
    """What `call` gives."""

    def to_json(self, number: int) -> dict[str, Any]:
        """Everything but the pixels."""
        written: dict[str, Any] = {"n": number, "who": self.who, "times_ns": list(self.times_ns)}
        if self.frame is not None:
            written["frame"] = self.frame.index
            written["rotations"] = self.rotations
        if self.call is not None:
            given = self.call.given
            if isinstance(given, GazeSample):
                written[self.call.what] = asdict(given)
            elif isinstance(given, tuple):
                written[self.call.what] = [asdict(box) for box in given]
            else:
                written[self.call.what] = given
        return written

    @classmethod
    def from_json(cls, written: dict[str, Any], frame: Frame | None) -> Turn:
        """What `to_json` wrote.

        Args:
            written: the object.
            frame: the frame that it names.

        Raises:
            TypeError, ValueError, KeyError, AttributeError: it is no such object.
        """
        who, times = written["who"], tuple(written["times_ns"])
        if who not in get_args(Who) or not all(type(t_ns) is int for t_ns in times):
            raise ValueError("no such turn")
        rotations = tuple(
            (int(t_ns), (float(x), float(y), float(z))) for t_ns, (x, y, z) in written.get("rotations", ())
        )
        call = None
        if who == "call":
            call = _call(written)
        return cls(who, times, frame, rotations=rotations, call=call)


def _call(written: dict[str, Any]) -> Call:
    if "gaze" in written:
        return Call("gaze", GazeSample(**written["gaze"]))
    if "boxes" in written:
        return Call("boxes", tuple(_box(**box) for box in written["boxes"]))
    if "keep" in written:
        return Call("keep", int(written["keep"]))
    if "drop" in written:
        return Call("drop", int(written["drop"]))
    return Call("allow", float(written["allow"]))


def _box(box_px: list[float] | None, point_px: list[float] | None, **others: Any) -> TrackedBox:
    return TrackedBox(box_px=_floats(box_px), point_px=_floats(point_px), **others)


def _floats(values: Iterable[float] | None) -> Any:
    return None if values is None else tuple(map(float, values))


def plain_sample(sample: GazeSample) -> GazeSample:
    """A sample in Python's own numbers: numpy's have another precision, and cannot be written as JSON."""
    return replace(
        sample,
        t_ns=int(sample.t_ns),
        x_norm=float(sample.x_norm),
        y_norm=float(sample.y_norm),
        confidence=float(sample.confidence),
        offset_ns=int(sample.offset_ns),
        receive_ns=int(sample.receive_ns),
    )


def plain_box(box: TrackedBox) -> TrackedBox:
    """A box in Python's own numbers."""
    return replace(
        box,
        object_id=int(box.object_id),
        t_ns=int(box.t_ns),
        box_px=_floats(box.box_px),
        point_px=_floats(box.point_px),
        confidence=float(box.confidence),
    )


def who_runs(thread_name: str) -> Who | None:
    """Which of a pipeline's threads has such a name."""
    return _THREADS.get(thread_name)


class TurnLock(Condition):
    """A pipeline's lock that says when a section begins and ends.

    Args:
        enter: called before the lock is taken.
        leave: called before it is given back.
    """

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        super().__init__()
        self._enter, self._leave = enter, leave

    def __enter__(self) -> bool:
        self._enter()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._leave()
        finally:
            super().__exit__(kind, error, trace)
