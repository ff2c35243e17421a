"""An exported image encoder against PyTorch's eager mode and the machine's matrix product.

python -m sam_edge.benchmarks.speed.encoder [--family mobile_sam] [--runtime NAME[:DEVICE] ...] \
    [--threads N] [--json]

Random weights, taken in turns in one process. Needs pip install 'sam-edge[export]'.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option, threads_option
from sam_edge.host.cores import usable_cores
from sam_edge.lazy import import_object
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.session import SessionOptions

from .flops import count_flops
from .timing import gemm_call, gemm_gflops, interleaved_ms

EAGER = "pytorch eager"


def measure(family: str, runtimes: Sequence[str], threads: int | None, rounds: int) -> dict[str, Any]:
    """Milliseconds of each runtime and of PyTorch, ratios, and the relative RMS difference of embeddings.

    `times_gemm` is the time over that of as many operations at the rate of a large matrix product.
    """
    threads = threads or usable_cores()
    import_object("sam_edge.exporters.random_graphs:use_threads")(threads)
    with TemporaryDirectory() as folder:
        graph, eager = import_object("sam_edge.exporters.random_graphs:write_encoder")(family, Path(folder))
        flops = count_flops(graph)
        engines = {name: find_runtime(name)(graph, SessionOptions(threads=threads)) for name in runtimes}
    (spec,) = next(iter(engines.values())).inputs
    image = np.random.default_rng(0).standard_normal(tuple(int(side) for side in spec.shape), dtype=np.float32)
    expected = eager(image)
    scale = float(np.sqrt(np.mean(np.square(expected))))
    differences = {
        name: float(np.sqrt(np.mean(np.square(engine.run({"image": image})["embedding"] - expected)))) / scale
        for name, engine in engines.items()
    }
    calls = {name: (lambda engine=engine: engine.run({"image": image})) for name, engine in engines.items()}
    ms = interleaved_ms({**calls, EAGER: lambda: eager(image)}, rounds=rounds)
    # Not in turns with the others: BLAS threads go on spinning, and the next call would pay for it.
    gemm = gemm_gflops(interleaved_ms({"gemm": gemm_call()}, rounds=5)["gemm"])
    report: dict[str, Any] = {
        "family": family,
        "threads": threads,
        "rounds": rounds,
        "gflop": round(flops / 1e9, 2),
        "gemm_gflops": round(gemm, 1),
        EAGER: {"ms": round(ms[EAGER], 1)},
    }
    for name in runtimes:
        report[name] = {
            "ms": round(ms[name], 1),
            "faster_than_eager": round(ms[EAGER] / ms[name], 2),
            "times_gemm": round(ms[name] * gemm * 1e6 / flops, 2),
            "embedding_rms": differences[name],
        }
    return report


@click.command(cls=Benchmark)
@click.option("--family", default="mobile_sam", show_default=True)
@runtimes_option
@threads_option
@click.option("--rounds", type=click.IntRange(1), default=11, show_default=True)
@json_option
def main(family: str, runtimes: tuple[str, ...], threads: int | None, rounds: int, as_json: bool) -> None:
    """Time a family's encoder on the runtimes of this machine and in PyTorch.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.encoder
      python -m sam_edge.benchmarks.speed.encoder --family repvit_sam --runtime openvino
    """
    report = measure(family, runtimes, threads, rounds)
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(
        f"{family}: {report['gflop']} GFLOP, {report['threads']} threads, medians of {rounds}; "
        f"GEMM 2048^3 float32: {report['gemm_gflops']} GFLOP/s"
    )
    click.echo(f"{EAGER:<16}{report[EAGER]['ms']:>8.1f} ms")
    for name in runtimes:
        row = report[name]
        click.echo(
            f"{name:<16}{row['ms']:>8.1f} ms, {row['faster_than_eager']} times as fast, "
            f"{row['times_gemm']} times the time of GEMM, embeddings differ by {row['embedding_rms']:.1e}"
        )


if __name__ == "__main__":
    main()
