"""What to encode and what to decode next: a pure state machine. Events in, decisions out.

It has no clock and no thread; the time of every event comes with it, so that every rule of timing is tested
with numbers. Two workers carry its decisions out, one for the encoder and one for the decoder, and tell when
they are done.

The rules:
- The encoder takes the newest frame, at once where the scene moved or changed since the frame of the embedding.
  Where it did not, it rests, but for a refresh now and then; without anyone who asks, it only refreshes.
- The decoder answers what was asked last: the newest admitted gaze sample, or the objects that moved last,
  in turns where both wait. When there is a new embedding, what is looked at is decoded again on it.
- Between decodes the mask in force is carried to each new frame, and is held through blinks.
- Nothing is queued. What is shed under load is encoding: decoding never waits for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from sam_edge.streaming.ranges import check_ranges

Action = Literal["decode", "hold", "skip"]
"""What a gaze sample wants: a mask; the mask in force; none, as the eye is on its way."""


@dataclass(frozen=True)
class SchedulerConfig:
    """When to encode. Shares are of the frame's longer side, or of its pixels."""

    moved_share: float = 0.002
    """The background has moved if it moved farther than this since the embedding's frame (2.6 of 1280
    pixels)."""
    changed_share: float = 0.004
    """Something has changed if so many of the pixels have, besides the camera's motion."""
    refresh_s: float = 1.0
    """A scene that rests is encoded again after so long."""
    max_encodes_per_s: float = 60.0
    """The encoder starts no more often; a temperature or power budget lowers it."""
    idle_s: float = 2.0
    """So long after the last look or box, nobody is asking."""

    def __post_init__(self) -> None:
        check_ranges(self, moved_share=(0, 1), changed_share=(0, 1), refresh_s=(1e-3, 1e6), idle_s=(0, 1e6))
        check_ranges(self, max_encodes_per_s=(1e-3, 1e6))


@dataclass(frozen=True)
class FrameCame:
    """There is a newer frame."""

    now_ns: int
    capture_ns: int
    moved_share: float
    """How far the background moved since the embedding's frame; infinite where that is not known."""
    changed_share: float = 0.0
    """How many pixels changed besides."""


@dataclass(frozen=True)
class GazeCame:
    """A gaze sample has passed the filters, which drop what comes late."""

    now_ns: int
    t_ns: int
    action: Action


@dataclass(frozen=True)
class ObjectsMoved:
    """An object tracker has told where its objects are, or followed ones can be found on a new embedding."""

    now_ns: int


@dataclass(frozen=True)
class EncodeDone:
    """The encoder has finished the frame it was given; `ok` is false where it failed."""

    now_ns: int
    capture_ns: int
    ok: bool = True


@dataclass(frozen=True)
class DecodeDone:
    """The decoder has finished its task."""

    now_ns: int


@dataclass(frozen=True)
class BudgetChanged:
    """From now on the encoder may start so many times a second."""

    now_ns: int
    encodes_per_s: float


Event = FrameCame | GazeCame | ObjectsMoved | EncodeDone | DecodeDone | BudgetChanged


@dataclass(frozen=True)
class Encode:
    """Encode this frame."""

    capture_ns: int


@dataclass(frozen=True)
class Decode:
    """Answer what was asked last on the newest embedding."""

    what: Literal["gaze", "objects"]


@dataclass(frozen=True)
class Carry:
    """Move the mask in force to the newest frame."""


Decision = Encode | Decode | Carry


@dataclass(frozen=True)
class State:
    """Everything the rules look at."""

    config: SchedulerConfig = SchedulerConfig()
    encodes_per_s: float = float("inf")
    """What the budget allows."""
    frame: FrameCame | None = None
    """The newest one."""
    encoding_ns: int | None = None
    """Capture time of the frame that is being encoded."""
    encode_began_ns: int | None = None
    """When the encoder last started."""
    embedding_ns: int | None = None
    """Capture time of the newest embedding's frame."""
    failed_ns: int | None = None
    """Capture time of the last frame that could not be encoded."""
    decoding: bool = False
    gaze: GazeCame | None = None
    """The newest sample of those that are not on their way."""
    answered_gaze_ns: int | None = None
    """Time of the admitted sample that was decoded last."""
    wants_gaze: bool = False
    """Whether an admitted sample waits."""
    wants_objects: bool = False
    wants_carry: bool = False
    gaze_on_ns: int | None = None
    """Capture time of the embedding that the gaze was decoded on last."""
    last: Literal["gaze", "objects"] | None = None
    """What was decoded last."""
    asked_ns: int | None = None
    """When somebody asked last."""


def step(state: State, event: Event) -> tuple[State, tuple[Decision, ...]]:
    """The state after an event, and what is to be done now.

    At most one Encode and one Decode or Carry are on their way at a time; each is followed by its EncodeDone or
    DecodeDone. Events may come in any order; times that go back change nothing but the decisions they ask for.
    """
    state = _taken_in(state, event)
    decisions: list[Decision] = []
    if _encode_now(state, event.now_ns):
        assert state.frame is not None, "there is one to encode"
        capture_ns = state.frame.capture_ns
        decisions.append(Encode(capture_ns))
        state = replace(state, encoding_ns=capture_ns, encode_began_ns=event.now_ns)
    task = _decode_now(state)
    if task is not None:
        decisions.append(task)
        state = _begun(state, task)
    return state, tuple(decisions)


def _taken_in(state: State, event: Event) -> State:
    if isinstance(event, FrameCame):
        state = replace(state, frame=event, wants_carry=True)
    elif isinstance(event, GazeCame):
        state = _looked(state, event)
    elif isinstance(event, ObjectsMoved):
        state = replace(state, wants_objects=True, asked_ns=event.now_ns)
    elif isinstance(event, EncodeDone):
        if event.ok:
            state = replace(state, encoding_ns=None, embedding_ns=event.capture_ns)
        else:
            state = replace(state, encoding_ns=None, failed_ns=event.capture_ns)
    elif isinstance(event, DecodeDone):
        state = replace(state, decoding=False)
    else:
        state = replace(state, encodes_per_s=event.encodes_per_s)
    return state


def _looked(state: State, event: GazeCame) -> State:
    if event.action == "skip":
        # What was looked at before is not asked for any more.
        return replace(state, gaze=None, wants_gaze=False)
    asks = event.action == "decode" or state.wants_gaze
    return replace(state, gaze=event, wants_gaze=asks, asked_ns=event.now_ns)


def _encode_now(state: State, now_ns: int) -> bool:
    frame, config = state.frame, state.config
    if frame is None or state.encoding_ns is not None or frame.capture_ns == state.embedding_ns:
        return False
    since_s = math.inf if state.encode_began_ns is None else (now_ns - state.encode_began_ns) / 1e9
    if frame.capture_ns == state.failed_ns and since_s < config.refresh_s:
        return False
    if state.embedding_ns is None:
        return True
    rate = min(config.max_encodes_per_s, state.encodes_per_s)
    if rate <= 0 or since_s < 1 / rate:
        return False
    if since_s >= config.refresh_s:
        return True
    asked = state.asked_ns is not None and now_ns - state.asked_ns < config.idle_s * 1e9
    moved = frame.moved_share > config.moved_share or frame.changed_share > config.changed_share
    return asked and moved


def _decode_now(state: State) -> Decode | Carry | None:
    if state.decoding or state.embedding_ns is None:
        return None
    # On a new embedding what is looked at is asked again.
    gaze = state.gaze is not None and (state.wants_gaze or state.gaze_on_ns != state.embedding_ns)
    if state.wants_objects and not (gaze and state.last == "objects"):
        return Decode("objects")
    if gaze:
        return Decode("gaze")
    return Carry() if state.wants_carry else None


def _begun(state: State, task: Decode | Carry) -> State:
    if isinstance(task, Carry):
        return replace(state, decoding=True, wants_carry=False)
    if task.what == "objects":
        return replace(state, decoding=True, wants_objects=False, wants_carry=False, last="objects")
    return replace(
        state,
        decoding=True,
        wants_gaze=False,
        wants_carry=False,
        gaze_on_ns=state.embedding_ns,
        answered_gaze_ns=state.gaze.t_ns if state.gaze else None,
        last="gaze",
    )
