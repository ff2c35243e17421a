"""Speed of a model on one runtime: encoder and decoder engines, and what our API adds to them.

python -m sam_edge.benchmarks.speed.stages [--model nano] [--runtime NAME[:DEVICE]] [--size WxH] \
    [--rounds N] [--json]
"""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.bundle.manifest import Precision
from sam_edge.cli.options import model_options, parse_size
from sam_edge.loading import load
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter

from .timing import gemm_call, gemm_gflops, interleaved_ms


def measure(segmenter: Segmenter, frame_wh: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Median milliseconds and rates of each stage on frames of that size."""
    image = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    prompt = Prompt.points([(frame_wh[0] / 2, frame_wh[1] / 2)])
    embedding = segmenter.encode(image)
    masks = segmenter.decode(embedding, prompt)
    ms = interleaved_ms(
        {
            "encode": lambda: segmenter.encode(image),
            "decode": lambda: segmenter.decode(embedding, prompt),
            "full_size": lambda: masks.best().binary,
        },
        rounds=rounds,
    )
    # Not in turns with the others: BLAS threads go on spinning, and the next call would pay for it.
    ms |= interleaved_ms({"gemm": gemm_call()}, rounds=5)
    return {
        "engine": str(segmenter.engine),
        **{f"{stage}_ms": round(value, 3) for stage, value in ms.items()},
        "encode_per_s": round(1e3 / ms["encode"], 1),
        "decode_per_s": round(1e3 / ms["decode"], 1),
        "gemm_gflops": round(gemm_gflops(ms["gemm"]), 1),
    }


@click.command(cls=Benchmark)
@model_options
@size_option
@click.option("--rounds", type=click.IntRange(1), default=31, show_default=True)
@json_option
def main(
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    size: str,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure encode and decode of a model, preprocessing and prompt handling included.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.stages --runtime onnxruntime
      python -m sam_edge.benchmarks.speed.stages --runtime openvino --size 640x480 --json
    """
    frame_wh = parse_size(size, "--size")
    with load(model, runtime=runtime, precision=precision, threads=threads) as segmenter:
        numbers = measure(segmenter, frame_wh, rounds)
    click.echo(
        json.dumps(numbers) if as_json else "\n".join(f"{name:<14}{value}" for name, value in numbers.items())
    )


if __name__ == "__main__":
    main()
