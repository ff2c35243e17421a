"""The whole of a live stream: camera, gaze chain, scheduler, both engines, carrying and a sink, at once.

python -m sam_edge.benchmarks.speed.streaming.live
    [--model nano] [--runtime NAME ...] [--size WxH] [--seconds S]
    [--rounds N] [--background N] [--boxes N] [--sink NAME ...] [--json]

A generated scene is played in real time at 30 frames a second, drawn beforehand, with simulated gaze at 200 Hz,
as from a camera and an eye tracker. `--background N` keeps N other processes busy with dense arithmetic, as the
programs of a robot do. `--boxes N` adds an object tracker that gives the true boxes of N objects ten times a
second.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic_ns

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option, size_option
from sam_edge.cli.options import FiniteRange, parse_size
from sam_edge.loading import load
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.api import stream
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.objects import TrackedBox
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.slot import Slot
from sam_edge.streaming.sources.scene import SceneSource
from sam_edge.streaming.sources.source import Frame, FrameSource, SourceInfo
from sam_edge.synthetic.gaze.recording import simulate_gaze
from sam_edge.synthetic.scene import Scene

from .by_hand import busy

GAZE_HZ = 200.0
EVERY = 3
"""A tracker sees every third frame: ten a second."""
SEED = 3
Box = tuple[float, float, float, float]
SHOWN = (
    ("gaze_to_mask", "p50"), ("gaze_to_mask", "p99"), ("embedding_age", "p50"), ("embedding_age", "p99"),
    ("bookkeeping", "p99"), ("motion", "p50"), ("carry", "p50"), ("carry", "p99"), ("wait", "p50"),
    ("decode", "p50"), ("encode", "p50"),
)  # fmt: skip


def measure(
    opened: Mapping[str, Segmenter],
    scene: Scene,
    *,
    rounds: int,
    background: int = 0,
    boxes: int = 0,
    sinks: Sequence[str] = ("seen.jsonl",),
) -> dict[str, dict[str, float]]:
    """Rates and latencies of the stream on each segmenter: medians of `rounds` turns.

    Args:
        opened: name -> a model on a runtime, warm.
        scene: what the camera sees; its length is that of a turn.
        rounds: how often each has its turn; the machine's other load is spread over all of them.
        background: how many other processes are busy meanwhile.
        boxes: how many objects a tracker gives besides.
        sinks: outputs that run meanwhile, in a folder that is thrown away.

    Returns:
        Name of the segmenter -> name -> value: rates a second, `longest_gap_ms` between two results, and
        percentiles in ms.
    """
    source = SceneSource(scene)
    frames = [*source]
    simulated = simulate_gaze(scene, GAZE_HZ, seed=SEED)
    gaze = [
        GazeSample(one.t_ns, one.x_px / scene.width, one.y_px / scene.height, one.confidence)
        for one in simulated
    ]
    truth = _truth(scene, boxes)
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in opened}
    with tempfile.TemporaryDirectory() as folder, busy(background):
        for _ in range(rounds):
            for name, segmenter in opened.items():
                outputs = [str(Path(folder) / sink) for sink in sinks]
                again = _Again(frames, source.info)
                turns[name].append(_turn(segmenter, again, gaze, scene.duration_s, truth, outputs))
    return {name: {head: median(turn[head] for turn in own) for head in own[0]} for name, own in turns.items()}


@dataclass
class _Seen:
    """What the benchmark itself notes, on the decoder's thread."""

    longest_gap_ms: float = 0.0
    """Between two results."""
    objects_ms: list[float] = field(default_factory=list)
    """From the time of the boxes to the masks of all of them."""
    last_ns: int | None = None
    newest: Slot[Frame] = field(default_factory=Slot)
    """The newest frame, once."""
    index: int = -1

    def __call__(self, frame_result: FrameResult) -> None:
        now_ns = monotonic_ns()
        if frame_result.frame.index > self.index:
            self.index = frame_result.frame.index
            self.newest.put(frame_result.frame)
        if frame_result.results:
            if self.last_ns is not None:
                self.longest_gap_ms = max(self.longest_gap_ms, (now_ns - self.last_ns) / 1e6)
            self.last_ns = now_ns
        tracked = [result.gaze_age_ms for result in frame_result.results if result.object_id is not None]
        if tracked:
            self.objects_ms.append(max(tracked))


class _Again:
    """The drawn frames once more: a stream closes its source, and the next turn needs them again."""

    lost_frames = 0

    def __init__(self, frames: Sequence[Frame], info: SourceInfo) -> None:
        self.info = info
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def close(self) -> None:
        """Nothing is held."""


def _turn(
    segmenter: Segmenter,
    source: FrameSource,
    gaze: Sequence[GazeSample],
    seconds: float,
    truth: Sequence[dict[int, Box]],
    sinks: Sequence[str],
) -> dict[str, float]:
    seen, ended = _Seen(), Event()
    with stream(source, gaze, model=segmenter, sinks=sinks, each=seen) as running:
        if truth:
            Thread(target=_track, args=(running, truth, seen, ended), daemon=True).start()
        for _ in running:
            pass
        ended.set()
    report = running.report()
    figures = {
        "frames_per_s": report.encoded_frames / seconds,
        "decodes_per_s": report.decodes / seconds,
        "results_per_s": sum(report.results.values()) / seconds,
        "stale_share": report.results.get("stale", 0) / max(1, sum(report.results.values())),
        "longest_gap_ms": seen.longest_gap_ms,
    }
    for stage, share in SHOWN:
        if stage in report.latency_ms:
            figures[f"{stage}_{share}"] = report.latency_ms[stage][share]
    if seen.objects_ms:
        figures["objects_p50"] = median(seen.objects_ms)
    return figures


def _truth(scene: Scene, count: int) -> list[dict[int, Box]]:
    """For each frame the boxes of the first so many objects that are seen, by label."""
    truth: list[dict[int, Box]] = []
    for index in range(scene.frame_count if count else 0):
        labels = scene.labels(index)
        truth.append({})
        for label in np.unique(labels)[1 : count + 1].tolist():
            ys, xs = np.nonzero(labels == label)
            truth[-1][label] = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
    return truth


def _track(running: Stream, truth: Sequence[dict[int, Box]], seen: _Seen, ended: Event) -> None:
    """A tracker that takes no time: the true boxes on every third frame, dated by its capture."""
    while not ended.is_set():
        frame = seen.newest.take(timeout_s=0.1)
        if frame is not None and frame.index % EVERY == 0:
            found = truth[frame.index].items()
            running.push_boxes([TrackedBox(label, frame.capture_ns, box) for label, box in found])


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtimes_option
@size_option
@click.option("--seconds", type=FiniteRange(0.5, 60), default=8.0, show_default=True, help="Of a turn.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Turns of each.")
@click.option("--background", type=click.IntRange(0, 64), default=0, show_default=True, help="Busy processes.")
@click.option(
    "--boxes", type=click.IntRange(0, 8), default=0, show_default=True, help="Objects at 10 Hz besides."
)
@click.option(
    "--sink", "sinks", multiple=True, default=("seen.jsonl",), show_default=True, help="Outputs; thrown away."
)
@json_option
def main(
    model: str,
    runtimes: tuple[str, ...],
    size: str,
    seconds: float,
    rounds: int,
    background: int,
    boxes: int,
    sinks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print how fast and how fresh a live stream is.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.streaming.live
      python -m sam_edge.benchmarks.speed.streaming.live --runtime onnxruntime --background 2 --json
      python -m sam_edge.benchmarks.speed.streaming.live --boxes 3
    """
    width, height = parse_size(size, "--size")
    scene = Scene(seed=SEED, width=width, height=height, duration_s=seconds)
    with ExitStack() as stack:
        opened = {
            runtime: stack.enter_context(load(model, runtime=runtime, frame_wh=(width, height)))
            for runtime in runtimes
        }
        rows = measure(opened, scene, rounds=rounds, background=background, boxes=boxes, sinks=sinks)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for head in next(iter(rows.values())):
        click.echo(
            f"{head:<22}"
            + "".join(f"{name:>14}{row.get(head, float('nan')):>8.2f}" for name, row in rows.items())
        )


if __name__ == "__main__":
    main()
