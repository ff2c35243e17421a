"""Speed of a model on this machine: encoder and decoder engines, and what our API adds to them.

python -m sam_edge.benchmarks.stages [--model nano] [--size 1280x720] [--json]
"""

from __future__ import annotations

import json

import click
import numpy as np

from sam_edge.prompt import Prompt
from sam_edge.segmenter import load

from .timing import gemm_call, gemm_gflops, interleaved_ms


def measure(model: str, frame_wh: tuple[int, int], threads: int | None) -> dict[str, float]:
    """Median milliseconds and rates of each stage on frames of that size."""
    image = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    prompt = Prompt.points([(frame_wh[0] / 2, frame_wh[1] / 2)])
    with load(model, threads=threads) as segmenter:
        embedding = segmenter.encode(image)
        masks = segmenter.decode(embedding, prompt)
        ms = interleaved_ms(
            {
                "encode": lambda: segmenter.encode(image),
                "decode": lambda: segmenter.decode(embedding, prompt),
                "full_size": lambda: masks.best().binary,
            },
            rounds=31,
        )
    # Not in turns with the others: BLAS threads go on spinning, and the next call would pay for it.
    ms |= interleaved_ms({"gemm": gemm_call()}, rounds=5)
    return {
        **{f"{stage}_ms": round(value, 3) for stage, value in ms.items()},
        "encode_per_s": round(1e3 / ms["encode"], 1),
        "decode_per_s": round(1e3 / ms["decode"], 1),
        "gemm_gflops": round(gemm_gflops(ms["gemm"]), 1),
    }


@click.command()
@click.option("--model", default="nano", show_default=True)
@click.option("--size", default="1280x720", show_default=True, help="Frame, WIDTHxHEIGHT.")
@click.option("--threads", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True)
def main(model: str, size: str, threads: int | None, as_json: bool) -> None:
    """Measure encode and decode of a model, preprocessing and prompt handling included."""
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{size!r} is not of the form WIDTHxHEIGHT", param_hint="--size")
    numbers = measure(model, (int(width), int(height)), threads)
    click.echo(
        json.dumps(numbers) if as_json else "\n".join(f"{name:<14}{value}" for name, value in numbers.items())
    )


if __name__ == "__main__":
    main()
