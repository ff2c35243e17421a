"""How two engines share the cores best: threads of each, priority, spinning, one process or two.

python -m sam_edge.benchmarks.speed.streaming.sharing
    [--model nano] [--runtime NAME ...] [--variant NAME ...] [--seconds S] [--rounds N] [--background N]
    [--json]

Each variant is the whole stream of `live` on a model whose sessions are opened otherwise. A variant is written
as `e2d1`: two threads for the encoder, one for the decoder. `n5` behind it gives the encoder's threads a nice
value of 5, so that the decoder's go first. `s` lets onnxruntime's idle threads spin. `--two-processes` compares
one process with two, in the best case for two: nothing is handed over between them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread, get_native_id, local
from time import perf_counter

import click
import numpy as np
import onnxruntime as ort

from sam_edge.benchmarks.options import Benchmark, json_option, runtimes_option
from sam_edge.bundle.folder import find_bundle
from sam_edge.cli.options import FiniteRange
from sam_edge.errors import InputError
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.session import Session, SessionOptions, Wrapper
from sam_edge.synthetic.scene import Scene
from sam_edge.tensors import Arrays

from .live import SEED, measure

FRAME_WH = (1280, 720)
VARIANTS = ("e2d2", "e1d1", "e2d1", "e1d2", "e2d2n5", "e2d2s")
SHOWN = (
    "frames_per_s", "gaze_to_mask_p50", "gaze_to_mask_p99", "embedding_age_p50", "embedding_age_p99",
    "longest_gap_ms", "encode_p50", "decode_p50",
)  # fmt: skip
ENCODES = """
import numpy as np, sam_edge
segmenter = sam_edge.load({model!r}, runtime={runtime!r}, frame_wh={wh})
image = np.random.default_rng(0).integers(0, 256, ({wh}[1], {wh}[0], 3), dtype=np.uint8)
print(flush=True)
while True: segmenter.encode(image)
"""


@dataclass(frozen=True)
class Variant:
    """How the sessions of a model are opened."""

    encoder_threads: int
    decoder_threads: int
    nice: int = 0
    spins: bool = False

    @classmethod
    def parse(cls, name: str) -> Variant:
        """Such as e2d1n5s.

        Raises:
            InputError: it is not of that form.
        """
        found = re.fullmatch(r"e(\d)d(\d)(?:n(\d+))?(s?)", name)
        if found is None:
            raise InputError(f"{name} is not a variant", hint="write it like e2d1, e2d2n5 or e2d2s")
        encoder, decoder, nice, spins = found.groups()
        return cls(int(encoder), int(decoder), int(nice or 0), bool(spins))


class Nice(Wrapper):
    """A session whose callers run with a nice value; its own threads have it from the thread that opened it."""

    def __init__(self, session: Session, nice: int) -> None:
        super().__init__(session)
        self._nice, self._done = nice, local()

    def run(self, feeds: Arrays) -> Arrays:
        if not hasattr(self._done, "nice"):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), self._nice)
            self._done.nice = self._nice
        return super().run(feeds)


def open_variant(model: str, runtime: str, variant: Variant) -> Segmenter:
    """A warm model whose sessions are opened as a variant says."""
    found = find_runtime(runtime)

    def loader(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        is_encoder = options.priority != "urgent"
        threads = variant.encoder_threads if is_encoder else variant.decoder_threads
        opened: list[Session] = []

        def open_it() -> None:
            if is_encoder and variant.nice:
                os.setpriority(os.PRIO_PROCESS, get_native_id(), variant.nice)
            opened.append(found(graph, replace(options, threads=threads)))

        thread = Thread(target=open_it)
        thread.start()
        thread.join()
        return Nice(opened[0], variant.nice) if is_encoder and variant.nice else opened[0]

    add = ort.SessionOptions.add_session_config_entry
    if variant.spins:
        # onnxruntime's session sets it to 0; here the same call sets it to 1.
        ort.SessionOptions.add_session_config_entry = lambda self, key, value: add(
            self, key, "1" if key.endswith("allow_spinning") else value
        )
    try:
        segmenter = Segmenter(find_bundle(model), loader)
        segmenter.warm_up(FRAME_WH)
    finally:
        ort.SessionOptions.add_session_config_entry = add
    return segmenter


def compare_processes(model: str, runtime: str, seconds: float) -> dict[str, dict[str, float]]:
    """Decoding while another thread, or another process, encodes without a pause: p50 and p99 of a decode in
    ms."""
    segmenter = open_variant(model, runtime, Variant(2, 2))
    image = np.random.default_rng(0).integers(0, 256, (FRAME_WH[1], FRAME_WH[0], 3), dtype=np.uint8)
    embedding = segmenter.encode(image)
    ended = Event()

    def decode() -> dict[str, float]:
        took, end = [], perf_counter() + seconds
        while perf_counter() < end:
            start = perf_counter()
            segmenter.decode(embedding, Prompt.points([(400, 300)]))
            took.append((perf_counter() - start) * 1e3)
            ended.wait(0.01)
        return {f"p{share}": float(np.percentile(took, share)) for share in (50, 99)}

    def encode() -> None:
        while not ended.is_set():
            segmenter.encode(image)

    thread = Thread(target=encode)
    thread.start()
    one = decode()
    ended.set()
    thread.join()
    ended.clear()
    other = subprocess.Popen(
        [sys.executable, "-c", ENCODES.format(model=model, runtime=runtime, wh=FRAME_WH)],
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None, "it was asked for"
        other.stdout.readline()
        two = decode()
    finally:
        other.kill()
        other.wait()
        segmenter.close()
    return {"one process": one, "two processes": two}


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@runtimes_option
@click.option("--variant", "variants", multiple=True, default=VARIANTS, show_default=True)
@click.option("--seconds", type=FiniteRange(0.5, 60), default=6.0, show_default=True, help="Of a turn.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Turns of each.")
@click.option("--background", type=click.IntRange(0, 64), default=0, show_default=True, help="Busy processes.")
@click.option("--two-processes", is_flag=True, help="Compare one process with two instead.")
@json_option
def main(
    model: str,
    runtimes: tuple[str, ...],
    variants: tuple[str, ...],
    seconds: float,
    rounds: int,
    background: int,
    two_processes: bool,
    as_json: bool,
) -> None:
    """Print how the stream does with each way to share the cores.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.streaming.sharing
      python -m sam_edge.benchmarks.speed.streaming.sharing --variant e2d2 --variant e2d2n5 --background 2
      python -m sam_edge.benchmarks.speed.streaming.sharing --two-processes
    """
    wanted = {name: Variant.parse(name) for name in variants}
    rows: dict[str, dict[str, float]] = {}
    if two_processes:
        for runtime in runtimes:
            found = compare_processes(model, runtime, seconds)
            rows |= {f"{runtime} {name}": row for name, row in found.items()}
    else:
        with ExitStack() as stack:
            opened: Mapping[str, Segmenter] = {
                f"{runtime} {name}": stack.enter_context(open_variant(model, runtime, variant))
                for runtime in runtimes
                for name, variant in wanted.items()
                if runtime == "onnxruntime" or not variant.spins
            }
            scene = Scene(seed=SEED, width=FRAME_WH[0], height=FRAME_WH[1], duration_s=seconds)
            measured = measure(opened, scene, rounds=rounds, background=background)
            rows = {
                name: {head: row.get(head, float("nan")) for head in SHOWN} for name, row in measured.items()
            }
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    heads = list(next(iter(rows.values())))
    click.echo(" " * 26 + "".join(f"{head:>19}" for head in heads))
    for name, row in rows.items():
        click.echo(f"{name:<26}" + "".join(f"{row[head]:>19.1f}" for head in heads))


if __name__ == "__main__":
    main()
