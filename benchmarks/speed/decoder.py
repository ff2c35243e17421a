"""The cut decoder against the plain one, on this machine's runtimes.

python -m sam_edge.benchmarks.speed.decoder [--runtime NAME[:DEVICE] ...] [--threads N] [--rounds N] [--json]

All are exported with random weights at SAM's full size and timed in turns in one process, so that
whatever else the machine does meets all. The official decoder is the plain one as segment_anything exports
it, with six inputs and masks at the size of the image. Needs pip install 'sam-edge[export]'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option, threads_option
from sam_edge.lazy import import_object
from sam_edge.prompt import FOREGROUND, NOT_A_POINT
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.session import SessionOptions

from .flops import count_flops
from .timing import gemm_call, gemm_gflops, interleaved_ms

PAIRS = ("decoder", "decoder_many")
OFFICIAL = "official_decoder"
OFFICIAL_RUNTIME = "onnxruntime"
"""What the official graph is commonly run with."""
FRAME_HW = (720, 1280)


def measure(runtimes: Sequence[str], threads: int | None, rounds: int) -> dict[str, Any]:
    """Of each decoder on each runtime: milliseconds, GFLOP, and how it compares.

    `times_gemm` is the time over that of as many operations at the rate of a large matrix product.
    """
    with TemporaryDirectory() as folder:
        graphs: dict[str, Path] = import_object("sam_edge.exporters.random_graphs:write_decoders")(Path(folder))
        flops = {name: count_flops(path) for name, path in graphs.items() if name != OFFICIAL}
        chosen = [(runtime, name) for runtime in runtimes for name in flops]
        chosen.append((OFFICIAL_RUNTIME, OFFICIAL))
        calls = {f"{name} {runtime}": _call(graphs[name], runtime, threads) for runtime, name in chosen}
    ms = interleaved_ms(calls, rounds=rounds)
    # Not in turns with the others: BLAS threads go on spinning, and the next call would pay for it.
    gemm = gemm_gflops(interleaved_ms({"gemm": gemm_call()}, rounds=5)["gemm"])
    official_ms = ms[f"{OFFICIAL} {OFFICIAL_RUNTIME}"]
    rows = {}
    for runtime, name in chosen[:-1]:
        own_ms = ms[f"{name} {runtime}"]
        row = {
            "ms": round(own_ms, 2),
            "gflop": round(flops[name] / 1e9, 2),
            "times_gemm": round(own_ms * gemm * 1e6 / flops[name], 2),
        }
        if name in PAIRS:
            row["faster_than_plain"] = round(ms[f"plain_{name} {runtime}"] / own_ms, 2)
            row["flops_of_plain"] = round(flops[name] / flops[f"plain_{name}"], 2)
        if name == PAIRS[0]:
            row["faster_than_official"] = round(official_ms / own_ms, 2)
        rows[f"{name} {runtime}"] = row
    official = {f"{OFFICIAL} {OFFICIAL_RUNTIME}": {"ms": round(official_ms, 2)}}
    return {"gemm_gflops": round(gemm, 1), "rounds": rounds, "decoders": rows | official}


def _call(graph: Path, runtime: str, threads: int | None) -> Callable[[], object]:
    """Runs the graph on random features with every slot filled by points, the last by SAM's padding."""
    engine = find_runtime(runtime)(graph, SessionOptions(threads=threads))
    generator = np.random.default_rng(0)
    feeds = {}
    for spec in engine.inputs:
        shape = tuple(side if isinstance(side, int) else 2 for side in spec.shape)
        feeds[spec.name] = generator.standard_normal(shape, dtype=np.float32)
    feeds["point_coords"] = np.abs(feeds["point_coords"]) * 300
    feeds["point_labels"] = np.full_like(feeds["point_labels"], FOREGROUND)
    feeds["point_labels"][0, -1] = NOT_A_POINT
    if "has_mask_input" in feeds:
        feeds["has_mask_input"] = np.zeros(1, np.float32)
    if "orig_im_size" in feeds:
        feeds["orig_im_size"] = np.array(FRAME_HW, np.float32)
    return lambda: engine.run(feeds)


@click.command(cls=Benchmark)
@runtimes_option
@threads_option
@click.option("--rounds", type=click.IntRange(1), default=31, show_default=True)
@json_option
def main(runtimes: tuple[str, ...], threads: int | None, rounds: int, as_json: bool) -> None:
    """Time the cut decoder against the plain one, with 2 and with 12 prompt slots.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.decoder
      python -m sam_edge.benchmarks.speed.decoder --runtime openvino --rounds 11 --json
    """
    report = measure(runtimes, threads, rounds)
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"GEMM 2048^3 float32: {report['gemm_gflops']} GFLOP/s; medians of {rounds}")
    for name, row in report["decoders"].items():
        told = [f"{row['ms']:8.2f} ms"]
        if "gflop" in row:
            told.append(f"{row['gflop']:.2f} GFLOP in {row['times_gemm']} times the time of GEMM")
        if "faster_than_plain" in row:
            told.append(
                f"{row['faster_than_plain']} times as fast as plain ({row['flops_of_plain']:.0%} FLOPs)"
            )
        if "faster_than_official" in row:
            told.append(f"{row['faster_than_official']} times official's on {OFFICIAL_RUNTIME}")
        click.echo(f"{name:<34}{', '.join(told)}")


if __name__ == "__main__":
    main()
