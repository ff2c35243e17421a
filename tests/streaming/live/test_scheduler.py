"""When is encoded and decoded: the rules, in simulated time."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_edge.streaming.live.scheduler import (
    Action,
    BudgetChanged,
    Carry,
    Decision,
    Decode,
    DecodeDone,
    Encode,
    EncodeDone,
    Event,
    FrameCame,
    GazeCame,
    ObjectsMoved,
    SchedulerConfig,
    State,
    step,
)

MS = 1_000_000


def run(state: State, *events: Event) -> tuple[State, list[Decision]]:
    """The state after events, and the decisions of the last one."""
    decisions: tuple[Decision, ...] = ()
    for event in events:
        state, decisions = step(state, event)
    return state, [*decisions]


def ready() -> State:
    """An embedding of a frame at 0, somebody looked, everything is answered."""
    state, _ = run(
        State(),
        FrameCame(0, 0, float("inf")),
        EncodeDone(20 * MS, 0),
        GazeCame(21 * MS, 20 * MS, "decode"),
        DecodeDone(30 * MS),
        DecodeDone(31 * MS),
    )
    return state


def test_the_first_frame_is_encoded_at_once() -> None:
    assert run(State(), FrameCame(5, 3, float("inf")))[1] == [Encode(3)]


def test_gaze_before_the_first_embedding_is_answered_as_soon_as_there_is_one() -> None:
    state, decisions = run(State(), FrameCame(0, 0, 1.0), GazeCame(1, 0, "decode"), GazeCame(2, 1, "hold"))
    assert decisions == []
    assert run(state, EncodeDone(20 * MS, 0))[1] == [Decode("gaze")]


def test_decoding_does_not_wait_for_an_encoder_at_work() -> None:
    state, decisions = run(ready(), FrameCame(40 * MS, 33 * MS, 0.1))
    assert decisions == [Encode(33 * MS), Carry()]
    state, _ = run(state, DecodeDone(41 * MS))
    assert run(state, GazeCame(42 * MS, 41 * MS, "decode"))[1] == [Decode("gaze")]


def test_what_is_looked_at_is_decoded_again_on_a_new_embedding() -> None:
    state, _ = run(ready(), FrameCame(40 * MS, 33 * MS, 0.1), DecodeDone(41 * MS))
    state, decisions = run(state, EncodeDone(60 * MS, 33 * MS))
    assert decisions == [Decode("gaze")]
    # And once is enough.
    assert run(state, DecodeDone(66 * MS), GazeCame(67 * MS, 66 * MS, "hold"))[1] == []


def test_a_scene_that_rests_is_not_encoded_but_for_the_refresh() -> None:
    state, decisions = run(ready(), FrameCame(40 * MS, 33 * MS, 0.0))
    assert decisions == [Carry()]
    state, _ = run(state, DecodeDone(41 * MS), GazeCame(900 * MS, 900 * MS, "hold"))
    assert run(state, FrameCame(1100 * MS, 1090 * MS, 0.0))[1] == [Encode(1090 * MS), Carry()]


def test_something_that_moves_before_a_still_camera_is_encoded() -> None:
    assert Encode(33 * MS) in run(ready(), FrameCame(40 * MS, 33 * MS, 0.0, changed_share=0.05))[1]


def test_nobody_asks_so_only_the_refresh_is_encoded() -> None:
    state, decisions = run(replace(ready(), asked_ns=-(10**12)), FrameCame(40 * MS, 33 * MS, 0.5))
    assert decisions == [Carry()]
    assert Encode(1100 * MS) in run(state, FrameCame(1100 * MS, 1100 * MS, 0.5))[1]


def test_a_saccade_asks_for_nothing_and_its_end_does() -> None:
    state, decisions = run(ready(), GazeCame(40 * MS, 40 * MS, "skip"))
    assert decisions == []
    state, decisions = run(
        state, FrameCame(50 * MS, 45 * MS, 0.1), DecodeDone(51 * MS), EncodeDone(70 * MS, 45 * MS)
    )
    assert decisions == []
    assert run(state, GazeCame(80 * MS, 79 * MS, "decode"))[1] == [Decode("gaze")]


def test_held_gaze_keeps_an_admitted_one_waiting() -> None:
    state, _ = run(ready(), FrameCame(40 * MS, 33 * MS, 0.0))
    state, decisions = run(state, GazeCame(41 * MS, 41 * MS, "decode"), GazeCame(46 * MS, 46 * MS, "hold"))
    assert decisions == []
    assert run(state, DecodeDone(47 * MS))[1] == [Decode("gaze")]


def test_objects_and_gaze_take_turns() -> None:
    state, decisions = run(ready(), ObjectsMoved(40 * MS))
    assert decisions == [Decode("objects")]
    state, _ = run(state, GazeCame(41 * MS, 41 * MS, "decode"), ObjectsMoved(42 * MS))
    state, decisions = run(state, DecodeDone(60 * MS))
    assert decisions == [Decode("gaze")]
    assert run(state, GazeCame(61 * MS, 61 * MS, "decode"), DecodeDone(70 * MS))[1] == [Decode("objects")]


def test_a_budget_slows_the_encoder_alone() -> None:
    state, _ = run(ready(), BudgetChanged(31 * MS, 5.0))
    state, decisions = run(state, FrameCame(100 * MS, 99 * MS, 0.5))
    assert decisions == [Carry()]
    state, decisions = run(state, DecodeDone(101 * MS), FrameCame(201 * MS, 200 * MS, 0.5))
    assert Encode(200 * MS) in decisions


def test_an_encoder_that_fails_is_asked_again_with_the_next_frame() -> None:
    state, _ = run(ready(), FrameCame(40 * MS, 33 * MS, 0.1), DecodeDone(41 * MS))
    state, decisions = run(state, EncodeDone(50 * MS, 33 * MS, ok=False))
    assert (state.embedding_ns, decisions) == (0, [])
    assert Encode(66 * MS) in run(state, FrameCame(70 * MS, 66 * MS, 0.1))[1]


class Simulation:
    """Workers that take so long, and a heap of events."""

    def __init__(self, encode_ms: float, decode_ms: float) -> None:
        self.encode_ms, self.decode_ms = encode_ms, decode_ms
        self.state = State()
        self.events: list[tuple[int, int, Event]] = []
        self.encoding = self.decoding = 0
        self.encodes: list[int] = []
        self.waits_ns: list[int] = []
        self.admitted_ns: int | None = None
        self._count = 0

    def add(self, event: Event) -> None:
        self._count += 1
        heapq.heappush(self.events, (event.now_ns, self._count, event))

    def run(self) -> None:
        while self.events:
            now_ns, _, event = heapq.heappop(self.events)
            self.encoding -= isinstance(event, EncodeDone)
            self.decoding -= isinstance(event, DecodeDone)
            if isinstance(event, GazeCame) and event.action != "hold":
                # Before the first embedding nothing can be answered.
                asks = event.action == "decode" and self.state.embedding_ns is not None
                self.admitted_ns = now_ns if asks else None
            self.state, decisions = step(self.state, event)
            for decision in decisions:
                self.begin(decision, now_ns)
            assert self.encoding <= 1
            assert self.decoding <= 1

    def begin(self, decision: Decision, now_ns: int) -> None:
        if isinstance(decision, Encode):
            self.encoding += 1
            self.encodes.append(decision.capture_ns)
            self.add(EncodeDone(now_ns + round(self.encode_ms * MS), decision.capture_ns))
            return
        self.decoding += 1
        if decision == Decode("gaze") and self.admitted_ns is not None:
            self.waits_ns.append(now_ns - self.admitted_ns)
            self.admitted_ns = None
        took_ms = 0.5 if isinstance(decision, Carry) else self.decode_ms
        self.add(DecodeDone(now_ns + round(took_ms * MS)))


@settings(max_examples=30, deadline=None)
@given(st.floats(5, 500), st.floats(1, 40), st.booleans(), st.integers(0, 2**32))
def test_whatever_the_engines_take_decoding_is_never_late(
    encode_ms: float, decode_ms: float, boxes: bool, seed: int
) -> None:
    rng = random.Random(seed)
    simulation = Simulation(encode_ms, decode_ms)
    for number in range(60):
        simulation.add(FrameCame(number * 33 * MS, number * 33 * MS, 0.05))
        if boxes and number % 3 == 0:
            simulation.add(ObjectsMoved(number * 33 * MS + 1))
    for number in range(400):
        action: Action = rng.choice(("decode", "decode", "hold", "skip"))
        simulation.add(GazeCame(number * 5 * MS + 2 * MS, number * 5 * MS, action))
    simulation.run()
    # An admitted sample waits for what is being decoded, and for the boxes' turn: never for the encoder.
    assert max(simulation.waits_ns, default=0) <= (decode_ms * (1 + boxes) + 1) * MS
    assert simulation.encodes == sorted(set(simulation.encodes))
    assert len(simulation.encodes) >= 60 * 33 / max(encode_ms + 34, 34) - 2
    assert (simulation.encoding, simulation.decoding) == (0, 0)


@pytest.mark.parametrize("rate", [0.001, 1.0])
def test_without_budget_nothing_but_the_first_frame_is_encoded(rate: float) -> None:
    state, _ = run(State(SchedulerConfig(max_encodes_per_s=rate)), FrameCame(0, 0, 1.0), EncodeDone(MS, 0))
    state, decisions = run(
        state, GazeCame(2 * MS, 2 * MS, "decode"), DecodeDone(5 * MS), FrameCame(33 * MS, 33 * MS, 1.0)
    )
    assert not [decision for decision in decisions if isinstance(decision, Encode)]
