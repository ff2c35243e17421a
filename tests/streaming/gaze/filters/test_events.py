"""Intervals out of answers."""

from __future__ import annotations

from sam_edge.streaming.gaze.filters.chain import Filtered, Phase
from sam_edge.streaming.gaze.filters.events import find_events
from sam_edge.streaming.gaze.sample import GazeSample

STEP_MS = 10


def answers(*runs: tuple[int, Phase, int | None], start_ms: int = 0) -> list[Filtered]:
    """Runs of (how many, phase, look)."""
    found: list[Filtered] = []
    for count, phase, look in runs:
        for _ in range(count):
            t_ns = (start_ms + STEP_MS * len(found)) * 1_000_000
            found.append(Filtered(GazeSample(t_ns, 0.5, 0.5), 0.0, 0.0, phase, "hold", look))
    return found


def events(*pieces: list[Filtered]) -> list[tuple[str, int, int]]:
    found = find_events([one for piece in pieces for one in piece], fixation_ms=70, max_gap_ms=150)
    return [(event.kind, event.start_ns // 1_000_000, event.end_ns // 1_000_000) for event in found]


def test_looks_and_what_lies_between_them() -> None:
    stream = answers((3, "settling", 1), (10, "fixation", 1), (4, "saccade", None), (10, "pursuit", 2))
    assert events(stream) == [("fixation", 0, 130), ("saccade", 130, 170), ("fixation", 170, 260)]


def test_a_short_look_is_part_of_the_saccades_around_it() -> None:
    stream = answers((9, "fixation", 1), (2, "saccade", None), (3, "settling", 2), (2, "saccade", None))
    assert events(stream, answers((9, "fixation", 3), start_ms=160)) == [
        ("fixation", 0, 90), ("saccade", 90, 160), ("fixation", 160, 240),
    ]  # fmt: skip


def test_noise_and_blinks_in_a_look_do_not_cut_it() -> None:
    stream = answers((9, "fixation", 1), (1, "saccade", None), (9, "fixation", 1), (2, "blink", None))
    stream += answers((9, "fixation", 1), start_ms=210)
    assert events(stream) == [("fixation", 0, 290), ("blink", 190, 210)]


def test_missing_samples_and_another_clock_end_all_events() -> None:
    first, second = answers((9, "fixation", 1)), answers((9, "fixation", 2), start_ms=500)
    assert events(first, second) == [("fixation", 0, 80), ("fixation", 500, 580)]
    assert events(second, first) == [("fixation", 0, 80), ("fixation", 500, 580)]
    assert events() == []
