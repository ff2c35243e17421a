"""What a warm-up is worth: the slowest call after it against the median, from one thread and from two.

python -m sam_edge.benchmarks.speed.warm [--model nano] [--runtime NAME ...] [--size WxH] [--calls N] [--json]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option, size_option
from sam_edge.cli.options import parse_size
from sam_edge.loading import load
from sam_edge.prompt import Prompt


def measure(model: str, runtime: str, frame_wh: tuple[int, int], calls: int, threads: int) -> dict[str, float]:
    """Durations of encodes and decodes after `warm_up`.

    Args:
        model: a shipped model's name, or a folder.
        runtime: NAME or NAME:DEVICE.
        frame_wh: width and height of the frames.
        calls: how many encodes, and how many decodes.
        threads: how many threads share them.

    Returns:
        `load_ms` (warm-up included), and for `encode` and `decode`: `_first_ms`, `_median_ms`, `_max_ms`,
        `_ratio` (of the slowest to the median).
    """
    start = perf_counter_ns()
    with load(model, runtime=runtime, frame_wh=frame_wh) as segmenter:
        found = {"load_ms": (perf_counter_ns() - start) / 1e6}
        width, height = frame_wh
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        embedding = segmenter.encode(image)
        prompt = Prompt.points([(width / 2, height / 2)])
        for name, call in (
            ("encode", lambda: segmenter.encode(image)),
            ("decode", lambda: segmenter.decode(embedding, prompt)),
        ):
            found |= {f"{name}_{key}": value for key, value in _durations(call, calls, threads).items()}
    return found


def _durations(call: Callable[[], object], calls: int, threads: int) -> dict[str, float]:
    def timed(_: int) -> float:
        start = perf_counter_ns()
        call()
        return (perf_counter_ns() - start) / 1e6

    with ThreadPoolExecutor(threads) as pool:
        times = list(pool.map(timed, range(calls)))
    median, most = float(np.median(times)), max(times)
    return {"first_ms": times[0], "median_ms": median, "max_ms": most, "ratio": most / median}


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtimes_option
@size_option
@click.option("--calls", type=click.IntRange(2), default=300, show_default=True, help="Encodes, and decodes.")
@json_option
def main(model: str, runtimes: tuple[str, ...], size: str, calls: int, as_json: bool) -> None:
    """Print how much slower than the median the slowest of many calls is, after a warm-up.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.warm
      python -m sam_edge.benchmarks.speed.warm --runtime openvino --calls 50 --json
    """
    frame_wh = parse_size(size, "--size")
    rows: dict[str, Any] = {}
    for runtime in runtimes:
        for threads in (1, 2):
            rows[f"{runtime}, {threads} threads"] = measure(model, runtime, frame_wh, calls, threads)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(
        f"{'':28}{'load':>8}{'encode: first':>15}{'median':>9}{'max':>9}{'ratio':>7}{'decode: first':>15}"
        f"{'median':>9}{'max':>9}{'ratio':>7}   ms"
    )
    for name, row in rows.items():
        numbers = "".join(
            f"{row[f'{kind}_first_ms']:>15.1f}{row[f'{kind}_median_ms']:>9.1f}{row[f'{kind}_max_ms']:>9.1f}"
            f"{row[f'{kind}_ratio']:>7.2f}"
            for kind in ("encode", "decode")
        )
        click.echo(f"{name:<28}{row['load_ms']:>8.0f}{numbers}")


if __name__ == "__main__":
    main()
