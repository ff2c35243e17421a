"""Many prompts on one image: one run of a batched decoder against one run for each prompt.

python -m sam_edge.benchmarks.speed.batch [--model nano] [--runtime NAME ...] [--size WxH] [--rounds N] [--json]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option, size_option
from sam_edge.cli.options import parse_size
from sam_edge.loading import load
from sam_edge.prompt import Prompt

from .timing import interleaved_ms

COUNTS = (1, 2, 4, 8, 16)


def measure(model: str, runtime: str, frame_wh: tuple[int, int], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of interleaved calls.

    Returns:
        Number of prompts -> `batch_ms` (`Segmenter.decode_batch` with `together`), `single_ms` (as many calls
        of `Segmenter.decode`) and `gain`, how many times as many prompts a second the batch answers.
    """
    width, height = frame_wh
    rng = np.random.default_rng(0)
    with load(model, runtime=runtime, frame_wh=frame_wh) as segmenter:
        segmenter.warm_up(frame_wh, batches=COUNTS)
        embedding = segmenter.encode(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        prompts = [Prompt.points([point]) for point in rng.uniform((0, 0), frame_wh, (max(COUNTS), 2))]

        def singly(count: int) -> None:
            for prompt in prompts[:count]:
                segmenter.decode(embedding, prompt)

        calls: dict[str, Callable[[], object]] = {}
        for count in COUNTS:
            together = partial(segmenter.decode_batch, embedding, prompts[:count], together=True)
            calls[f"batch {count}"] = together
            together()  # compiles that size
            calls[f"single {count}"] = partial(singly, count)
        times = interleaved_ms(calls, rounds)
    return {
        str(count): {
            "batch_ms": times[f"batch {count}"],
            "single_ms": times[f"single {count}"],
            "gain": times[f"single {count}"] / times[f"batch {count}"],
        }
        for count in COUNTS
    }


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtimes_option
@size_option
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True, help="Calls of each kind.")
@json_option
def main(model: str, runtimes: tuple[str, ...], size: str, rounds: int, as_json: bool) -> None:
    """Print what it gains to decode several prompts of one image together.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.batch
      python -m sam_edge.benchmarks.speed.batch --runtime openvino --rounds 5 --json
    """
    frame_wh = parse_size(size, "--size")
    rows: dict[str, Any] = {runtime: measure(model, runtime, frame_wh, rounds) for runtime in runtimes}
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for runtime, counts in rows.items():
        click.echo(f"{runtime}: prompts, together, one by one (ms), gain")
        for count, row in counts.items():
            click.echo(f"{count:>4}{row['batch_ms']:>10.1f}{row['single_ms']:>10.1f}{row['gain']:>8.2f}")


if __name__ == "__main__":
    main()
