"""What the gaze chain makes of recorded gaze, against what eye trackers' own software says about it.

    python -m sam_edge.benchmarks.quality.gaze_events ../shared/data/gaze

An event counts as found where one of the same kind overlaps it with a temporal IoU (the time that both take,
divided by the time that either takes) of at least 0.5, each with one at most; F1 is 2 found / (own + theirs).
"Undelayed" moves the chain's events to earlier times by half the window to which their ends are fitted.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.errors import InputError
from sam_edge.streaming.gaze.filters.chain import Filtered, GazeState, step
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.filters.events import Event, EventKind, find_events
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import open_gaze

DEVICE = {"neon_multi_part": "tuned on", "neon_demo_recording": "held out"}
"""Recordings with the events of the device, and what the defaults have to do with them."""
NEON, CORE, ARIA = ((1600, 1200), 103.0), ((1280, 720), 103.0), ((1408, 1408), 90.0)
"""Scene cameras: the frame's width and height, and degrees across; Aria's are those of the projection."""
RECORDINGS = {
    "pupil_core_saccade": CORE,
    "pupil_core_smoothpursuit": CORE,
    "pupil_core_vor": CORE,
    "pupil_core_tutorial": CORE,
    "pupil_core_tutorial10": CORE,
    "neon_demo_recording": NEON,
    "neon_multi_part": NEON,
    "aria_zelo": ARIA,
    "aria_mps_sample": ARIA,
}
BLINKS = "pupil_core_tutorial10"
RATES_HZ = (200, 60, 30)
MIN_IOU = 0.5
MIN_BLINK_MS = 50.0
BLINK_HOLE_MS = 20.0
"""Blinks with less between them are one: the two eyes of a Pupil Core close and open a sample apart."""
Answers = Sequence[Filtered]


@dataclass(frozen=True)
class Match:
    """How well intervals of one kind agree."""

    own: int
    theirs: int
    found: int

    @property
    def f1(self) -> float:
        return 2 * self.found / max(1, self.own + self.theirs)


def run_chain(
    samples: Iterable[GazeSample], frame_wh: tuple[int, int], config: GazeFilterConfig
) -> tuple[GazeState, list[Filtered]]:
    """The chain's last state, and what it answers to each sample."""
    state, answers = GazeState(), []
    for sample in samples:
        state, answer = step(state, sample, frame_wh, config)
        answers.append(answer)
    return state, answers


def match(own: Sequence[Event], theirs: Sequence[Event], kind: EventKind) -> Match:
    """Pair events of a kind, the ones that overlap most first."""
    ours = [event for event in own if event.kind == kind]
    others = [event for event in theirs if event.kind == kind]
    pairs = [(iou(a, b), i, j) for i, a in enumerate(ours) for j, b in enumerate(others)]
    taken_i, taken_j = set[int](), set[int]()
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap >= MIN_IOU and i not in taken_i and j not in taken_j:
            taken_i.add(i)
            taken_j.add(j)
    return Match(len(ours), len(others), len(taken_i))


def iou(a: Event, b: Event) -> float:
    """Of two intervals of time."""
    both = min(a.end_ns, b.end_ns) - max(a.start_ns, b.start_ns)
    either = max(a.end_ns, b.end_ns) - min(a.start_ns, b.start_ns)
    return max(0, both) / either if either > 0 else 0.0


def agreement(answers: Answers, theirs: Sequence[Event]) -> float:
    """Share of the samples for which the chain said, when they came, what the device says of that time: saccade
    or not. Samples of which the device says nothing do not count."""
    both = []
    for answer in answers:
        other = next((one.kind for one in theirs if one.start_ns <= answer.sample.t_ns < one.end_ns), None)
        if other is not None:
            both.append((answer.phase == "saccade") == (other == "saccade"))
    return sum(both) / max(1, len(both))


def read_device_events(path: Path) -> list[Event]:
    """Fixations and saccades as a Neon found them: `t_start_s`, `t_end_s`, `event_type` 1 and 0."""
    return [
        Event("fixation" if row["event_type"] == "1" else "saccade", _ns(row["t_start_s"]), _ns(row["t_end_s"]))
        for row in _rows(path)
    ]


def read_blinks(folder: Path) -> list[Event]:
    """Pupil Core's blinks, on the clock of the gaze: its zero is the first time that the fixations name."""
    fixations = _rows(folder / f"{BLINKS}_fixations_raw.csv")
    zero_s = min(float(time) for row in fixations for time in row["base_data"].split())
    return [
        Event("blink", _ns(float(row["start_timestamp"]) - zero_s), _ns(float(row["end_timestamp"]) - zero_s))
        for row in _rows(folder / f"{BLINKS}_blinks_raw.csv")
    ]


def _ns(seconds: float | str) -> int:
    return round(float(seconds) * 1e9)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", path=path) from error


def thinned(samples: Sequence[GazeSample], rate_hz: float) -> list[GazeSample]:
    """As a tracker of a lower rate would have sent them."""
    kept: list[GazeSample] = []
    due_ns = samples[0].t_ns
    for sample in samples:
        if sample.t_ns >= due_ns - 1_000_000:
            kept.append(sample)
            due_ns = max(due_ns + round(1e9 / rate_hz), sample.t_ns)
    return kept


def against_device(folder: Path, name: str, rate_hz: float, config: GazeFilterConfig) -> dict[str, Any]:
    """F1 and agreement of one recording, as the chain answers and with its delay taken out: a line fitted to a
    window tells the velocity in the window's middle."""
    samples = open_gaze(str(folder / f"{name}.csv"))
    theirs = read_device_events(folder / f"{name}_fixations.csv")
    _, answers = run_chain(thinned(samples, rate_hz), NEON[0], config)
    own = find_events(answers, fixation_ms=config.fixation_ms, max_gap_ms=config.max_gap_ms)
    row: dict[str, Any] = {"recording": name, "role": DEVICE[name], "rate_hz": rate_hz}
    row["agreement"] = agreement(answers, theirs)
    for key, delay_ms in (("", 0.0), ("_undelayed", config.landing_window_ms / 2)):
        shifted = [_shifted(event, round(delay_ms * 1e6)) for event in own]
        seen = [
            event
            for event in shifted
            if event.end_ns > theirs[0].start_ns and event.start_ns < theirs[-1].end_ns
        ]
        row[f"fixation_f1{key}"] = match(seen, theirs, "fixation").f1
        row[f"saccade_f1{key}"] = match(seen, theirs, "saccade").f1
    for kind in ("fixation", "saccade"):
        row[f"{kind}s_own"] = sum(event.kind == kind for event in own)
        row[f"{kind}s_theirs"] = sum(event.kind == kind for event in theirs)
    return row


def _shifted(event: Event, delay_ns: int) -> Event:
    return replace(event, start_ns=event.start_ns - delay_ns, end_ns=event.end_ns - delay_ns)


def behaviour(folder: Path, name: str, config: GazeFilterConfig) -> dict[str, Any]:
    """How a recording's time is spent, and how many masks it asks for."""
    samples = open_gaze(str(folder / f"{name}.csv"))
    frame_wh, width_deg = RECORDINGS[name]
    config = replace(config, horizontal_fov_deg=width_deg)
    start = perf_counter_ns()
    state, answers = run_chain(samples, frame_wh, config)
    cost_us = (perf_counter_ns() - start) / len(samples) / 1e3
    spent: Counter[str] = Counter()
    for one, after in pairwise(answers):
        gap_ns = after.sample.t_ns - one.sample.t_ns
        spent[one.phase] += gap_ns if gap_ns <= config.max_gap_ms * 1e6 else 0
    total_s = sum(spent.values()) / 1e9
    events = find_events(answers, fixation_ms=config.fixation_ms, max_gap_ms=config.max_gap_ms)
    return {
        "recording": name,
        "seconds": total_s,
        "samples_s": len(samples) / total_s,
        "decodes_s": sum(answer.action == "decode" for answer in answers) / total_s,
        "looks_s": state.looks / total_s,
        "fixations_s": sum(event.kind == "fixation" for event in events) / total_s,
        "share": {phase: span / total_s / 1e9 for phase, span in sorted(spent.items())},
        "drops": {reason: count for reason, count in state.drops.items() if count},
        "noise_deg": deviation(answers, frame_wh, config),
        "us_a_sample": cost_us,
    }


def deviation(answers: Answers, frame_wh: tuple[int, int], config: GazeFilterConfig) -> dict[str, float]:
    """RMS distance of samples and of smoothed points from the mean of the samples 50 ms around, in degrees,
    within looks; that mean is no filter for a stream, as it looks ahead."""
    scale = config.scale(frame_wh)
    looks: dict[int, list[Filtered]] = {}
    for answer in answers:
        if answer.fixation_id is not None:
            looks.setdefault(answer.fixation_id, []).append(answer)
    errors: dict[str, list[float]] = {"raw": [], "smoothed": []}
    for look in looks.values():
        t_s = np.array([answer.sample.t_ns for answer in look]) / 1e9
        raw = np.array([answer.sample.to_px(frame_wh) for answer in look]) / scale
        smoothed = np.array([(answer.x_px, answer.y_px) for answer in look]) / scale
        for at in np.flatnonzero((t_s - t_s[0] > 0.05) & (t_s[-1] - t_s > 0.05)):
            mean = raw[np.abs(t_s - t_s[at]) <= 0.05].mean(axis=0)
            errors["raw"].append(float(((raw[at] - mean) ** 2).sum()))
            errors["smoothed"].append(float(((smoothed[at] - mean) ** 2).sum()))
    return {key: float(np.sqrt(np.mean(squares))) if squares else 0.0 for key, squares in errors.items()}


def blinks(folder: Path, config: GazeFilterConfig) -> dict[str, Any]:
    """How many blinks of a Pupil Core's own detector are found, and what else counts as one."""
    _, answers = run_chain(open_gaze(str(folder / f"{BLINKS}.csv")), CORE[0], config)
    closed: list[Event] = []
    for event in find_events(answers, fixation_ms=0.0, max_gap_ms=config.max_gap_ms):
        if event.kind != "blink":
            continue
        if closed and event.start_ns - closed[-1].end_ns < BLINK_HOLE_MS * 1e6:
            closed[-1] = replace(closed[-1], end_ns=event.end_ns)
        else:
            closed.append(event)
    own = [event for event in closed if event.end_ns - event.start_ns >= MIN_BLINK_MS * 1e6]
    theirs = read_blinks(folder)
    return {
        "own": len(own),
        "theirs": len(theirs),
        "found": match(own, theirs, "blink").found,
        "iou": [max((iou(event, one) for one in own), default=0.0) for event in theirs],
    }


def measure(folder: Path, config: GazeFilterConfig) -> dict[str, Any]:
    """All tables: `device`, `behaviour`, `blinks`."""
    device = [against_device(folder, name, rate, config) for name in DEVICE for rate in RATES_HZ]
    return {
        "device": device,
        "behaviour": [behaviour(folder, name, config) for name in RECORDINGS],
        "blinks": blinks(folder, config),
    }


def _config(settings: Sequence[str]) -> GazeFilterConfig:
    named: dict[str, object] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            named[name] = float(value)
        except ValueError as error:
            raise InputError(f"{setting!r} is not a setting", hint="give NAME=NUMBER") from error
    return GazeFilterConfig.from_mapping(named)


@click.command(cls=Benchmark)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="NAME=NUMBER", help="A setting of the chain.")
@json_option
def main(folder: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Compare the gaze chain with eye trackers' own software, on the recordings in FOLDER.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.gaze_events ../shared/data/gaze
      python -m sam_edge.benchmarks.quality.gaze_events ../shared/data/gaze --set noise_deg=1 --json
    """
    found = measure(folder, _config(settings))
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(table(found)))


def table(found: dict[str, Any]) -> list[str]:
    """The lines of the three tables."""
    lines = [
        f"{'against the device':<22}{'':<10}{'Hz':>4}{'fixations own/theirs':>22}{'F1':>6}{'undelayed':>11}"
        f"{'saccades':>11}{'F1':>6}{'undelayed':>11}{'agreement':>11}"
    ]
    for row in found["device"]:
        fixations = f"{row['fixations_own']}/{row['fixations_theirs']}"
        saccades = f"{row['saccades_own']}/{row['saccades_theirs']}"
        lines.append(
            f"{row['recording']:<22}{row['role']:<10}{row['rate_hz']:>4}{fixations:>22}"
            f"{row['fixation_f1']:>6.2f}{row['fixation_f1_undelayed']:>11.2f}{saccades:>11}"
            f"{row['saccade_f1']:>6.2f}{row['saccade_f1_undelayed']:>11.2f}"
            f"{row['agreement']:>11.2f}"
        )
    lines += [
        "",
        f"{'share of the time':<24}{'samples/s':>10}{'saccade':>9}{'fixation':>9}{'pursuit':>9}{'settling':>9}"
        f"{'no eye':>8}{'outside':>9}{'fixations/s':>12}{'decodes/s':>10}{'noise raw, smoothed':>21}{'us':>6}",
    ]
    for row in found["behaviour"]:
        share = row["share"]
        no_eye = share.get("blink", 0) + share.get("no_gaze", 0)
        shares = "".join(
            f"{share.get(phase, 0):>9.3f}" for phase in ("saccade", "fixation", "pursuit", "settling")
        )
        noise = f"{row['noise_deg']['raw']:.2f}, {row['noise_deg']['smoothed']:.2f}"
        lines.append(
            f"{row['recording']:<24}{row['samples_s']:>10.0f}{shares}{no_eye:>8.3f}"
            f"{share.get('outside', 0):>9.3f}"
            f"{row['fixations_s']:>12.2f}{row['decodes_s']:>10.1f}{noise:>21}{row['us_a_sample']:>6.0f}"
        )
    one = found["blinks"]
    overlaps = ", ".join(f"{overlap:.2f}" for overlap in one["iou"])
    seen = f"{one['found']} of {one['theirs']} found (IoU {overlaps}), {one['own']} in all"
    return [*lines, "", f"blinks of {BLINKS}: {seen}"]


if __name__ == "__main__":
    main()
