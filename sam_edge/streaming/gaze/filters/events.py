"""Looks, saccades and blinks of a whole recording as intervals, from what the chain answered to its samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from sam_edge.streaming.gaze.filters.chain import Filtered

EventKind = Literal["fixation", "saccade", "blink"]


@dataclass(frozen=True, slots=True)
class Event:
    """What an eye did from one time to another."""

    kind: EventKind
    start_ns: int
    end_ns: int
    """When the sample comes that is no part of it; of the last event of a piece, its own last sample."""


def find_events(answers: Iterable[Filtered], *, fixation_ms: float, max_gap_ms: float) -> list[Event]:
    """Intervals, by the time they begin.

    A fixation is a look of at least `fixation_ms`, whether the eye rests or follows, with the samples in it
    that were noise or had no eye. A shorter look belongs to the saccades around it, as in Neon's detector. A
    blink is a time without an eye, however long; it may lie within a look. Gaze outside of the frame is none of
    them. Where no sample comes for `max_gap_ms`, all events end.
    """
    events: list[Event] = []
    for piece in _pieces(answers, round(max_gap_ms * 1e6)):
        events += _events(piece, round(fixation_ms * 1e6))
    return sorted(events, key=lambda event: event.start_ns)


def _pieces(answers: Iterable[Filtered], max_gap_ns: int) -> list[list[Filtered]]:
    """Answers in the order of time, cut where samples are missing or the clock went back."""
    pieces: list[list[Filtered]] = []
    for answer in answers:
        last = pieces[-1][-1].sample.t_ns if pieces else None
        if last is not None and 0 < answer.sample.t_ns - last <= max_gap_ns:
            pieces[-1].append(answer)
        elif last != answer.sample.t_ns:
            pieces.append([answer])
    return pieces


def _events(piece: Sequence[Filtered], fixation_ns: int) -> list[Event]:
    times = [answer.sample.t_ns for answer in piece]
    times.append(times[-1])
    kinds: list[EventKind | None] = [
        "saccade" if answer.phase == "saccade" else "blink" if answer.phase in ("blink", "no_gaze") else None
        for answer in piece
    ]
    blinks = _intervals(kinds, times, "blink")
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, answer in enumerate(piece):
        if answer.fixation_id is not None:
            first.setdefault(answer.fixation_id, at)
            last[answer.fixation_id] = at
    looks = []
    for number, start in first.items():
        end = last[number] + 1
        is_long = times[end] - times[start] >= fixation_ns
        kinds[start:end] = ["fixation" if is_long else "saccade"] * (end - start)
        if is_long:
            looks.append(Event("fixation", times[start], times[end]))
    return looks + _intervals(kinds, times, "saccade") + blinks


def _intervals(kinds: Sequence[EventKind | None], times: Sequence[int], kind: EventKind) -> list[Event]:
    """Runs of one kind; `times` has one entry more, the end of the last one."""
    found, at = [], 0
    for key, run in groupby(kinds):
        count = len(list(run))
        if key == kind:
            found.append(Event(kind, times[at], times[at + count]))
        at += count
    return found
