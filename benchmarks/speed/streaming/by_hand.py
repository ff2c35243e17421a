"""Two engines on the same cores, as a stream needs them: frames are encoded in one thread, gaze is decoded in
another.

python -m sam_edge.benchmarks.speed.streaming.by_hand
    [--model nano] [--runtime NAME ...] [--size WxH] [--seconds S]
    [--rounds N] [--background N] [--json]

A camera gives 30 frames a second and an eye tracker 200 samples a second. The encoder takes the newest frame,
the decoder the newest sample on the newest embedding; what is older is dropped. `--background N` keeps N other
processes busy with dense arithmetic, as the programs of a robot do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from threading import Event, Thread
from time import perf_counter_ns, sleep

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option, size_option
from sam_edge.cli.options import FiniteRange, parse_size
from sam_edge.embedding import Embedding
from sam_edge.loading import load
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter

FRAME_NS = 33_333_333
GAZE_NS = 5_000_000
BUSY = "import numpy as np\na = np.random.default_rng(0).random((300, 300), np.float32)\nwhile True: a @ a"


@dataclass
class Measured:
    """One stream; durations in ms unless they say otherwise."""

    encodes: list[float] = field(default_factory=list)
    gaze_to_mask: list[float] = field(default_factory=list)
    """From the sample's time to its mask."""
    frame_age: list[float] = field(default_factory=list)
    """How old the frame under a mask is when the mask is there."""
    seconds: float = 0.0
    """How long it took."""


def measure(
    model: str,
    runtimes: Sequence[str],
    frame_wh: tuple[int, int],
    seconds: float,
    background: int,
    rounds: int,
) -> dict[str, dict[str, float]]:
    """Rates and latencies of a stream on each runtime: medians of `rounds` turns.

    Args:
        model: a shipped model's name, or a folder.
        runtimes: NAME or NAME:DEVICE.
        frame_wh: width and height of the frames.
        seconds: how long each turn takes.
        background: how many other processes are busy meanwhile.
        rounds: how often each runtime has its turn; the machine's other load is spread over all of them.

    Returns:
        Runtime -> `frames_per_s`, `masks_per_s`, and in ms `gaze_to_mask_p50`, `_p99`, `frame_age_p50`, `_p99`.
    """
    turns: dict[str, list[dict[str, float]]] = {runtime: [] for runtime in runtimes}
    with ExitStack() as stack:
        opened = {
            runtime: stack.enter_context(load(model, runtime=runtime, frame_wh=frame_wh))
            for runtime in runtimes
        }
        stack.enter_context(busy(background))
        for _ in range(rounds):
            for runtime, segmenter in opened.items():
                found = _stream(segmenter, frame_wh, seconds)
                turns[runtime].append(
                    {
                        "frames_per_s": len(found.encodes) / found.seconds,
                        "masks_per_s": len(found.gaze_to_mask) / found.seconds,
                        **_percentiles("gaze_to_mask", found.gaze_to_mask),
                        **_percentiles("frame_age", found.frame_age),
                    }
                )
    return {
        runtime: {head: median(turn[head] for turn in own) for head in own[0]} for runtime, own in turns.items()
    }


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes keep cores busy while the block runs."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        sleep(0.5 * bool(count))
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _stream(segmenter: Segmenter, frame_wh: tuple[int, int], seconds: float) -> Measured:
    width, height = frame_wh
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(4)]
    found, stop = Measured(), Event()
    begin = perf_counter_ns()
    newest: list[Embedding] = [segmenter.encode(images[0], capture_ns=begin)]

    def encode() -> None:
        last = 0
        while not stop.is_set():
            number = (perf_counter_ns() - begin) // FRAME_NS
            if number == last:
                sleep(0.001)
                continue
            last = number
            start = perf_counter_ns()
            newest[0] = segmenter.encode(images[number % len(images)], capture_ns=begin + number * FRAME_NS)
            found.encodes.append((perf_counter_ns() - start) / 1e6)

    def decode() -> None:
        last = 0
        while not stop.is_set():
            number = (perf_counter_ns() - begin) // GAZE_NS
            if number == last:
                sleep(0.0005)
                continue
            last = number
            point = (width * (0.3 + 0.4 * (number % 97) / 97), height * (0.3 + 0.4 * (number % 89) / 89))
            embedding = newest[0]
            segmenter.decode(embedding, Prompt.points([point]))
            now = perf_counter_ns()
            found.gaze_to_mask.append((now - begin - number * GAZE_NS) / 1e6)
            found.frame_age.append((now - embedding.capture_ns) / 1e6)

    threads = [Thread(target=work) for work in (encode, decode)]
    for thread in threads:
        thread.start()
    sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    found.seconds = (perf_counter_ns() - begin) / 1e9
    return found


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_p{share}": float(np.percentile(values, share)) for share in (50, 99)}


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtimes_option
@size_option
@click.option(
    "--seconds", type=FiniteRange(0, min_open=True), default=4.0, show_default=True, help="Of a turn."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns of each.")
@click.option("--background", type=click.IntRange(0, 64), default=0, show_default=True, help="Busy processes.")
@json_option
def main(
    model: str,
    runtimes: tuple[str, ...],
    size: str,
    seconds: float,
    rounds: int,
    background: int,
    as_json: bool,
) -> None:
    """Print how fast frames are encoded and gaze is decoded when both happen at once.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.streaming.by_hand
      python -m sam_edge.benchmarks.speed.streaming.by_hand --runtime openvino --background 2 --json
    """
    rows = measure(model, runtimes, parse_size(size, "--size"), seconds, background, rounds)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    heads = list(next(iter(rows.values())))
    click.echo(" " * 20 + "".join(f"{head:>20}" for head in heads))
    for name, row in rows.items():
        click.echo(f"{name:<20}" + "".join(f"{row[head]:>20.1f}" for head in heads))


if __name__ == "__main__":
    main()
