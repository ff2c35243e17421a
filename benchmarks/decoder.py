"""The cut decoder against the plain one, on this machine.

python -m sam_edge.benchmarks.decoder [--threads N] [--rounds N] [--json]

Both are exported with random weights at SAM's full size and timed in turns in one process, so that
whatever else the machine does meets both. Needs pip install 'sam-edge[export]'.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from sam_edge.lazy import load
from sam_edge.prompt import FOREGROUND, NOT_A_POINT
from sam_edge.runtime import find_runtime

from .flops import count_flops
from .timing import gemm_call, gemm_gflops, interleaved_ms

PAIRS = ("decoder", "decoder_many")


def measure(runtime: str, threads: int | None, rounds: int) -> dict[str, Any]:
    """Median milliseconds, GFLOP and share of the GEMM rate of each decoder, and the ratio of each pair."""
    with TemporaryDirectory() as folder:
        graphs: dict[str, Path] = load("sam_edge.exporters.decoders:write_decoders")(Path(folder))
        flops = {name: count_flops(path) for name, path in graphs.items()}
        calls = {name: _call(path, runtime, threads) for name, path in graphs.items()}
    ms = interleaved_ms(calls, rounds=rounds)
    # Not in turns with the others: BLAS threads go on spinning, and the next call would pay for it.
    gemm = gemm_gflops(interleaved_ms({"gemm": gemm_call()}, rounds=5)["gemm"])
    report: dict[str, Any] = {"runtime": runtime, "gemm_gflops": round(gemm, 1)}
    for name in graphs:
        rate = flops[name] / ms[name] / 1e6
        report[name] = {
            "ms": round(ms[name], 2),
            "gflop": round(flops[name] / 1e9, 2),
            "share_of_gemm": round(rate / gemm, 2),
        }
    for name in PAIRS:
        plain = f"plain_{name}"
        report[name]["faster_than_plain"] = round(ms[plain] / ms[name], 2)
        report[name]["flops_of_plain"] = round(flops[name] / flops[plain], 2)
    return report


def _call(graph: Path, runtime: str, threads: int | None) -> Callable[[], object]:
    """Runs the graph on random features with every slot filled by points, the last by SAM's padding."""
    engine = find_runtime(runtime)[1](graph, threads)
    generator = np.random.default_rng(0)
    feeds = {}
    for spec in engine.inputs:
        shape = tuple(int(side) for side in spec.shape)
        feeds[spec.name] = generator.standard_normal(shape, dtype=np.float32)
    feeds["point_coords"] = np.abs(feeds["point_coords"]) * 300
    feeds["point_labels"] = np.full_like(feeds["point_labels"], FOREGROUND)
    feeds["point_labels"][0, -1] = NOT_A_POINT
    return lambda: engine.run(feeds)


@click.command()
@click.option("--runtime", default="onnxruntime", show_default=True)
@click.option("--threads", type=click.IntRange(1))
@click.option("--rounds", type=click.IntRange(1), default=31, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(runtime: str, threads: int | None, rounds: int, as_json: bool) -> None:
    """Time the cut decoder against the plain one, with 2 and with 12 prompt slots."""
    report = measure(runtime, threads, rounds)
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(
        f"GEMM 2048^3 float32: {report['gemm_gflops']} GFLOP/s; {report['runtime']}, medians of {rounds}"
    )
    for name in PAIRS:
        for kind in (f"plain_{name}", name):
            row = report[kind]
            share = f"{row['share_of_gemm']:.0%} of GEMM"
            click.echo(f"{kind:<20}{row['ms']:>8.2f} ms {row['gflop']:>6.2f} GFLOP  {share}")
        row = report[name]
        click.echo(
            f"{name} is {row['faster_than_plain']} times as fast with {row['flops_of_plain']:.0%} of the FLOPs"
        )


if __name__ == "__main__":
    main()
