"""The first stage: which samples say where an eye looks, and whether time goes on as it should.

Eye trackers report a blink as low confidence, as positions that are no numbers, or by sending nothing; sources
turn what else a tracker says (a closed lid, glasses not worn) into confidence 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.sample import GazeSample

Verdict = Literal["good", "blink", "no_gaze", "outside", "dropped"]
"""`good`: an eye looks into the frame. `blink`: no eye since a short time. `no_gaze`: no eye for longer.
`outside`: an eye looks past the frame. `dropped`: its time has been before, so it says nothing new."""
DropReason = Literal[
    "low_confidence", "not_finite", "outside", "repeated", "late", "backwards", "gap", "resized"
]
"""Why a sample was not used: `low_confidence`, `not_finite`, `outside`; `repeated`, the time of the one before;
`late`, an older time. Or why the chain began anew: `backwards`, the clock went back; `gap`, nothing came for
long; `resized`, the frames have another size."""
NO_DROPS: Mapping[DropReason, int] = MappingProxyType(dict.fromkeys(get_args(DropReason), 0))
"""All reasons, none met."""


@dataclass(frozen=True, slots=True)
class GateState:
    """What the gate remembers of earlier samples."""

    t_ns: int | None = None
    """Of the newest sample."""
    good_ns: int | None = None
    """Of the newest good one."""
    late_ns: int | None = None
    """Of the sample just dropped as late."""
    frame_wh: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate says about a sample."""

    verdict: Verdict
    reasons: tuple[DropReason, ...] = ()
    """What is to be counted."""
    restart: bool = False
    """Whether earlier samples say nothing about this good one."""


_GOOD = Gated("good")


def gate(
    state: GateState, sample: GazeSample, frame_wh: tuple[int, int], config: GazeFilterConfig
) -> tuple[GateState, Gated]:
    """Judge a sample by its confidence, position and time.

    One sample with an older time was overtaken on its way and is dropped. A second one in order behind it, or
    one that is older by more than `max_gap_ms`, means that the clock went back: the chain begins anew.

    Args:
        state: from the sample before; `GateState()` at first.
        sample: the newest to arrive.
        frame_wh: width and height of the frame it looks at, in pixels.
        config: `min_confidence`, `blink_hold_ms` and `max_gap_ms`.
    """
    t_ns, max_gap_ns = sample.t_ns, config.max_gap_ms * 1e6
    good_ns, before_ns = state.good_ns, state.t_ns
    reasons: tuple[DropReason, ...] = ()
    if before_ns is not None:
        if t_ns == before_ns:
            return state, Gated("dropped", ("repeated",))
        if t_ns < before_ns:
            again = state.late_ns is not None and t_ns > state.late_ns
            if before_ns - t_ns <= max_gap_ns and not again:
                return GateState(before_ns, good_ns, t_ns, state.frame_wh), Gated("dropped", ("late",))
            reasons, good_ns = ("backwards",), None
        elif t_ns - before_ns > max_gap_ns:
            reasons = ("gap",)
        if state.frame_wh != frame_wh:
            reasons, good_ns = (*reasons, "resized"), None
    x, y = sample.x_norm, sample.y_norm
    if sample.confidence >= config.min_confidence and 0 <= x <= 1 and 0 <= y <= 1:
        after = GateState(t_ns, t_ns, None, frame_wh)
        restart = good_ns is None or t_ns - good_ns > max_gap_ns
        return after, Gated("good", reasons, restart) if restart or reasons else _GOOD
    after = GateState(t_ns, good_ns, None, frame_wh)
    if not math.isfinite(x + y + sample.confidence):
        reason: DropReason = "not_finite"
    elif sample.confidence >= config.min_confidence:
        return after, Gated("outside", (*reasons, "outside"))
    else:
        reason = "low_confidence"
    closed = good_ns is not None and t_ns - good_ns <= config.blink_hold_ms * 1e6
    return after, Gated("blink" if closed else "no_gaze", (*reasons, reason))
