"""Does a live stream keep its memory? Hours of data in minutes, with everything that goes wrong.

python -m sam_edge.benchmarks.speed.streaming.soak
    [--model nano] [--runtime NAME] [--minutes M] [--speed X] [--plot PNG]
    [--json]

A camera of 30 x SPEED frames a second dies and is opened again ten times, gaze comes at 1000 Hz, a sink stalls
from the first line on, and another one writes. Resident memory is read from the operating system every few
seconds; the slope is fitted to the second half (Theil-Sen), with the 95 % interval of a block bootstrap.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic, monotonic_ns
from types import MappingProxyType
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.cli.options import FiniteRange, runtime_option
from sam_edge.cli.progress import progress
from sam_edge.errors import InputError
from sam_edge.loading import load
from sam_edge.progress import Progress
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.sink import Sink
from sam_edge.streaming.sinks.threaded import ThreadedSink
from sam_edge.streaming.sources.live.reconnect import Pauses, Reconnecting
from sam_edge.streaming.sources.scene import SceneSource
from sam_edge.streaming.sources.source import Frame, SourceInfo
from sam_edge.synthetic.scene import Scene

FAILURES = 10
GAZE_HZ = 1000.0
SCENE_S = 2.0
EVERY_S = 2.0
RESAMPLES = 500


class DyingCamera:
    """A connection that gives the drawn frames again and again until it dies."""

    lost_frames = 0

    def __init__(self, images: list[NDArray[np.uint8]], fps: float, lives_s: float) -> None:
        height, width = images[0].shape[:2]
        self.info = SourceInfo((width, height), fps, live=True)
        self._images = images
        self._dies_s = monotonic() + lives_s
        self._closing = Event()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._closing.wait(1 / self.info.fps):
            if monotonic() > self._dies_s:
                raise InputError("the camera has died", hint="this is a test")
            # There and back, so that nothing jumps.
            at = index % (2 * len(self._images) - 2)
            image = self._images[min(at, 2 * len(self._images) - 2 - at)]
            yield Frame(image, index, monotonic_ns(), monotonic_ns())
            index += 1

    def close(self) -> None:
        """End the iteration."""
        self._closing.set()


def measure(model: str, runtime: str | None, minutes: float, speed: float, show: Progress) -> dict[str, Any]:
    """Run the stream, and read its memory.

    Args:
        model: a shipped model's name, or a folder.
        runtime: NAME or NAME:DEVICE; None: the best here.
        minutes: how long.
        speed: how much faster than a camera of 30 frames a second.
        show: progress.

    Returns:
        `seconds` and `resident_mb` of each reading, `slope_mb_per_h` of run time with `low` and `high`, and the
        stream's counts.
    """
    images = [frame.image for frame in SceneSource(Scene(seed=3, width=1280, height=720, duration_s=SCENE_S))]
    lives_s = minutes * 60 / (FAILURES + 1)
    camera = Reconnecting("camera", lambda: DyingCamera(images, 30 * speed, lives_s), pauses=Pauses(0.25, 1.0))
    seconds: list[float] = []
    resident: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        load(model, runtime=runtime, frame_wh=(1280, 720)) as segmenter,
        ThreadedSink("stalled", (1280, 720), 30, opener=_stalled) as stalled,
        ThreadedSink(f"{folder}/seen.jsonl", (1280, 720), 30, opener=_nowhere) as lines,
    ):

        def each(frame_result: FrameResult) -> None:
            stalled.write(frame_result)
            lines.write(frame_result)

        with Stream(segmenter, each=each) as running:
            running.play(camera)
            running.play(_Eye())
            began = monotonic()
            while (since := monotonic() - began) < minutes * 60:
                Event().wait(EVERY_S)
                seconds.append(since)
                resident.append(_resident_mb())
                show(f"soaking, {resident[-1]:.0f} MB", since / (minutes * 60))
            report = running.report()
        lost = stalled.lost
    half = len(seconds) // 2
    slope, low, high = slope_mb_per_h(np.array(seconds[half:]), np.array(resident[half:]))
    return {
        "seconds": seconds,
        "resident_mb": resident,
        "slope_mb_per_h": slope,
        "low": low,
        "high": high,
        "reconnects": camera.reconnects,
        "lost_by_the_stalled_sink": lost,
        "frames": report.frames,
        "encoded_frames": report.encoded_frames,
        "gaze_samples": report.gaze_samples,
        "decodes": report.decodes,
        "errors": dict(report.errors),
        "gaze_to_mask_p99": report.latency_ms["gaze_to_mask"]["p99"],
    }


class _Eye:
    """Gaze at 1000 Hz: dwells of a third of a second, saccades between them, and a blink now and then."""

    name = "eye"
    dropped: Mapping[str, int] = MappingProxyType({})

    def __init__(self) -> None:
        self._closing = Event()

    def __iter__(self) -> Iterator[GazeSample]:
        rng = np.random.default_rng(0)
        began_ns = monotonic_ns()
        number = 0
        while not self._closing.wait(1 / GAZE_HZ):
            # As many samples as the time that passed has: waiting is coarser than a millisecond.
            due = int((monotonic_ns() - began_ns) * GAZE_HZ / 1e9)
            while number < due:
                t_ns = began_ns + round(number * 1e9 / GAZE_HZ)
                dwell = number // 333
                x = 0.5 + 0.3 * math.sin(dwell * 2.4) + 0.002 * rng.standard_normal()
                y = 0.55 + 0.2 * math.cos(dwell * 1.7) + 0.002 * rng.standard_normal()
                blink = number % 4000 < 150
                yield GazeSample(t_ns, x, y, 0.0 if blink else 1.0, "host", receive_ns=monotonic_ns())
                number += 1

    def close(self) -> None:
        """End the iteration."""
        self._closing.set()


@contextmanager
def _stalled(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[Sink]:
    ended = Event()

    class Stalled:
        def write(self, frame_result: FrameResult) -> None:
            ended.wait()

    try:
        yield Stalled()
    finally:
        ended.set()


@contextmanager
def _nowhere(name: str, frame_wh: tuple[int, int], fps: float) -> Iterator[Sink]:
    """JSON lines as they are, into nothing: an hour of them would fill a disk."""
    from sam_edge.streaming.sinks.jsonl import JsonlSink

    with open(os.devnull, "w", encoding="utf-8") as file:
        yield JsonlSink(file, name)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def slope_mb_per_h(seconds: NDArray[np.float64], resident: NDArray[np.float64]) -> tuple[float, float, float]:
    """MB an hour by Theil-Sen, and the 95 % interval of a block bootstrap: readings near in time are alike."""

    def fit(at: NDArray[np.int64]) -> float:
        i, j = np.triu_indices(len(at), 1)
        apart = seconds[at[j]] - seconds[at[i]]
        rise = resident[at[j]] - resident[at[i]]
        return float(np.median(rise[apart > 0] / apart[apart > 0]) * 3600) if (apart > 0).any() else 0.0

    count = len(seconds)
    rng, block = np.random.default_rng(0), max(1, count // 10)
    starts = rng.integers(0, max(1, count - block + 1), (RESAMPLES, 10))
    slopes = [fit(np.sort((start[:, None] + np.arange(block)).ravel())) for start in starts]
    low, high = np.percentile(slopes, (2.5, 97.5)).tolist()
    return fit(np.arange(count)), low, high


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtime_option
@click.option("--minutes", type=FiniteRange(0.1, 1440), default=20.0, show_default=True)
@click.option("--speed", type=FiniteRange(0.1, 10), default=3.0, show_default=True, help="Of the camera.")
@click.option("--plot", type=Path, metavar="PNG", help="Memory over time; needs '.[train]'.")
@json_option
def main(
    model: str, runtime: str | None, minutes: float, speed: float, plot: Path | None, as_json: bool
) -> None:
    """Run a live stream for long, and print whether its memory grows.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.streaming.soak
      python -m sam_edge.benchmarks.speed.streaming.soak --minutes 5 --runtime openvino --plot soak.png
    """
    with progress() as show:
        found = measure(model, runtime, minutes, speed, show)
    if plot is not None:
        _draw(found, plot)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if not isinstance(value, list):
            click.echo(f"{name:<26}{value:>14.2f}" if isinstance(value, float) else f"{name:<26}{value!s:>14}")


def _draw(found: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3))
    axes = figure.add_subplot(xlabel="minutes", ylabel="resident memory, MB")
    axes.plot(np.array(found["seconds"]) / 60, found["resident_mb"])
    axes.set_ylim(bottom=0)
    figure.savefig(path, bbox_inches="tight")


if __name__ == "__main__":
    main()
