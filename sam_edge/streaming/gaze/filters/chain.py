"""The gaze chain: from a sample to whether it deserves a mask, and of which point.

    GazeSample ─▶ gate ─────▶ I-VT ─────▶ I-DT ─────────▶ 1-euro ─▶ Filtered
                  blink       saccade     settling        smoothed  decode, hold
                  outside                 fixation        point     or skip
                  time                    pursuit

A look is what lies between two saccades. Its samples are smoothed together and share a `fixation_id`; a new
look always asks for a mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sam_edge.streaming.gaze.filters.blink import NO_DROPS, DropReason, GateState, gate
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.filters.fixation import DispersionState, LookPhase, disperse
from sam_edge.streaming.gaze.filters.one_euro import Smoothed, smooth
from sam_edge.streaming.gaze.filters.saccade import Movement, Point, VelocityState, move
from sam_edge.streaming.gaze.sample import GazeSample

Phase = LookPhase | Literal["saccade", "blink", "outside", "no_gaze"]
"""What the eye does; see `LookPhase` and `Verdict`."""
Action = Literal["decode", "hold", "skip"]
"""`decode`: this point deserves a mask. `hold`: the mask of before stays; who has a newer embedding may decode
the point again. `skip`: there is nothing to show a mask of."""
MAX_FLOW_DEG_S = 2_000.0
"""No head turns so fast; what says so is not used."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """A sample, and what is to be done about it."""

    sample: GazeSample
    x_px: float
    """Across the frame, from its left edge: smoothed during a look, the look's last point in a blink, else the
    sample's own (NaN where it has none)."""
    y_px: float
    """Down the frame, from its top edge."""
    phase: Phase
    action: Action
    fixation_id: int | None = None
    """Which look it belongs to, counted from 1; None outside of looks."""
    speed_deg_s: float = 0.0
    """How fast the eye moves over what the image shows."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known since the eye landed."""

    number: int
    """Counted from 1."""
    at: Point
    """Its last sample."""
    point: Smoothed
    dispersion: DispersionState
    admitted: tuple[float, float] | None = None
    """The smoothed point (x_deg, y_deg) that asked for a mask last; None: it has to ask again."""


@dataclass(frozen=True, slots=True)
class GazeState:
    """Everything the chain remembers; its size has a bound."""

    gate: GateState = field(default_factory=GateState)
    velocity: VelocityState = field(default_factory=VelocityState)
    drift_deg: tuple[float, float] = (0.0, 0.0)
    """How far the image has moved (x, y) since the chain began anew."""
    look: Look | None = None
    """The present look or, in a saccade or blink, the one before."""
    saccade_ns: int | None = None
    """When the present saccade began."""
    looks: int = 0
    """How many there were."""
    last: Filtered | None = None
    """The newest answer: its point can be decoded again at any time."""
    drops: Mapping[DropReason, int] = field(default_factory=lambda: NO_DROPS)
    """Why -> how many samples were not used, or made the chain begin anew; always the same keys."""


def step(
    state: GazeState,
    sample: GazeSample,
    frame_wh: tuple[int, int],
    config: GazeFilterConfig,
    *,
    flow_px_s: tuple[float, float] = (0.0, 0.0),
) -> tuple[GazeState, Filtered]:
    """Take the next sample.

    Nothing in a sample raises: what cannot be used is counted in `drops`, and one good sample sets all right.

    Args:
        state: from the sample before; `GazeState()` at first. It is not changed.
        sample: in the order of arrival.
        frame_wh: width and height of the frame it looks at, in pixels.
        config: all thresholds.
        flow_px_s: how fast the image moves over the frame (x, y), because the head turns. Eyes that rest on
            something move along with it, and it is no saccade.

    Returns:
        The state for the next sample, and what is to be done about this one.
    """
    gate_state, gated = gate(state.gate, sample, frame_wh, config)
    drops = _counted(state.drops, gated.reasons) if gated.reasons else state.drops
    if gated.verdict == "dropped":
        dropped = _repeated(state.last, sample, frame_wh)
        return replace(state, gate=gate_state, drops=drops, last=dropped), dropped
    if gated.verdict != "good":
        return _without_gaze(state, sample, frame_wh, config, gate_state, gated.verdict, drops)
    if gated.restart:
        state = GazeState(looks=state.looks)
    scale = config.scale(frame_wh)
    x_px, y_px = sample.to_px(frame_wh)
    at = Point(sample.t_ns, x_px / scale, y_px / scale)
    drift = _drifted(state, at.t_ns, flow_px_s, scale)
    velocity, movement = move(state.velocity, Point(at.t_ns, at.x_deg - drift[0], at.y_deg - drift[1]), config)
    speed = movement.speed_deg_s
    if movement.in_saccade:
        began_ns = at.t_ns if state.saccade_ns is None else state.saccade_ns
        filtered = Filtered(sample, x_px, y_px, "saccade", "skip", None, speed)
        after = GazeState(gate_state, velocity, drift, state.look, began_ns, state.looks, filtered, drops)
        return after, filtered
    before = state.look if _goes_on(state, at, movement, config) else None
    number = state.looks + 1 if before is None else before.number
    look, phase = _looked(before, number, at, config)
    action: Action = "hold" if before is not None and look.admitted == before.admitted else "decode"
    x_px, y_px = look.point.x_deg * scale, look.point.y_deg * scale
    filtered = Filtered(sample, x_px, y_px, phase, action, number, speed)
    return GazeState(gate_state, velocity, drift, look, None, number, filtered, drops), filtered


def _drifted(state: GazeState, t_ns: int, flow_px_s: tuple[float, float], scale: float) -> tuple[float, float]:
    """How far the image has moved (x, y), in degrees, until a good sample."""
    x_deg_s, y_deg_s = flow_px_s[0] / scale, flow_px_s[1] / scale
    # Also false for what is no number.
    if state.gate.good_ns is None or not abs(x_deg_s) + abs(y_deg_s) <= MAX_FLOW_DEG_S:
        return state.drift_deg
    dt_s = (t_ns - state.gate.good_ns) * 1e-9
    return state.drift_deg[0] + x_deg_s * dt_s, state.drift_deg[1] + y_deg_s * dt_s


def _goes_on(state: GazeState, at: Point, movement: Movement, config: GazeFilterConfig) -> bool:
    """Whether a sample outside of saccades belongs to the look before."""
    look, began_ns = state.look, state.saccade_ns
    if look is None or (began_ns is not None and at.t_ns - began_ns >= config.spike_ms * 1e6):
        return False
    if began_ns is None and not movement.jumped:
        return True
    return math.hypot(at.x_deg - look.at.x_deg, at.y_deg - look.at.y_deg) <= config.dispersion_deg


def _looked(before: Look | None, number: int, at: Point, config: GazeFilterConfig) -> tuple[Look, LookPhase]:
    """The look with one sample more; its admitted point changes where it asks for a mask."""
    if before is None:
        point, dispersion, admitted = Smoothed(*at), DispersionState(), None
    else:
        point, dispersion, admitted = smooth(before.point, *at, config), before.dispersion, before.admitted
    dispersion, phase = disperse(dispersion, *at, config)
    x, y = point.x_deg, point.y_deg
    if admitted is None or math.hypot(x - admitted[0], y - admitted[1]) > config.noise_deg:
        admitted = (x, y)
    return Look(number, at, point, dispersion, admitted), phase


def _without_gaze(
    state: GazeState,
    sample: GazeSample,
    frame_wh: tuple[int, int],
    config: GazeFilterConfig,
    gate_state: GateState,
    phase: Literal["blink", "no_gaze", "outside"],
    drops: Mapping[DropReason, int],
) -> tuple[GazeState, Filtered]:
    """No eye looks into the frame: the mask stays through a blink, and is over with all else."""
    look = state.look
    # A lid that falls drags the gaze along, as if in a saccade: the look before it is held all the same.
    if phase == "blink" and look is not None and look.admitted is not None:
        scale = config.scale(frame_wh)
        filtered = Filtered(sample, look.point.x_deg * scale, look.point.y_deg * scale, phase, "hold")
    else:
        filtered = Filtered(sample, *sample.to_px(frame_wh), phase, "skip")
        if look is not None:
            # What is shown no more has to be asked for when the eye comes back.
            look = replace(look, admitted=None)
    return replace(state, gate=gate_state, look=look, last=filtered, drops=drops), filtered


def _repeated(last: Filtered | None, sample: GazeSample, frame_wh: tuple[int, int]) -> Filtered:
    """The answer of before for a sample that says nothing new."""
    if last is None:
        return Filtered(sample, *sample.to_px(frame_wh), "no_gaze", "skip")
    return replace(last, sample=sample, action="skip" if last.action == "skip" else "hold")


def _counted(drops: Mapping[DropReason, int], reasons: tuple[DropReason, ...]) -> Mapping[DropReason, int]:
    return {reason: count + (reason in reasons) for reason, count in drops.items()}
