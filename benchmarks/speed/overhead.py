"""What our API adds to an engine: a whole call of ours against the engine called directly.

python -m sam_edge.benchmarks.speed.overhead [--model nano] [--runtime NAME ...] [--size WxH] [--rounds N] \
    [--json]

Both sides compute the same on engines with the same settings. Both make the frame the encoder's input: by our
resize, and then by normalisation and padding, before the engine on onnxruntime and folded into it on OpenVINO.
The direct decoder gets its inputs ready-made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, size_option, threads_option
from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.cli.options import parse_size
from sam_edge.embedding import Embedding
from sam_edge.host.cores import usable_cores
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions, Wrapper
from sam_edge.tensors import Arrays

from .direct import DIRECT, Sample
from .timing import interleaved_ms

ENCODES = 2
DECODES = 5
"""Decodes in a row of each side: the first one finds the caches full of other things, and is not counted."""


class Recorder(Wrapper):
    """An engine that remembers what it was fed last."""

    def __init__(self, engine: Session) -> None:
        super().__init__(engine)
        self.fed: Arrays = {}

    def run(self, feeds: Arrays) -> Arrays:
        self.fed = feeds
        return super().run(feeds)


def measure(model: str, runtime: str, frame_wh: tuple[int, int], threads: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of both sides, and what ours adds."""
    bundle = find_bundle(model)
    image = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    prompt = Prompt.points([(frame_wh[0] / 2, frame_wh[1] / 2)])
    loader = find_runtime(runtime)
    with Segmenter(bundle, loader, threads=threads) as segmenter:
        embedding = segmenter.encode(image)
        feeds = decoder_feeds(bundle, loader, embedding, prompt)
        direct = DIRECT[runtime](bundle, Sample(image, embedding.view, feeds), threads)

        def encode() -> object:
            return segmenter.encode(image)

        def encode_directly() -> object:
            return direct.encode(image)

        # Either side comes first as often as second.
        calls = {"ours 0": encode, "direct 0": encode_directly, "direct 1": encode_directly, "ours 1": encode}
        encodes = interleaved_ms(calls, rounds=rounds)
        calls = {f"ours {n}": lambda: segmenter.decode(embedding, prompt) for n in range(DECODES)}
        calls |= {f"direct {n}": lambda: direct.decode(feeds) for n in range(DECODES)}
        decodes = interleaved_ms(calls, rounds=rounds)
    return compare(encodes, decodes)


def compare(encodes: Mapping[str, float], decodes: Mapping[str, float]) -> dict[str, float]:
    """What ours adds, from the milliseconds of the calls "ours N" and "direct N"."""
    encode_ms, encode_direct_ms = (
        float(np.mean([encodes[f"{side} {n}"] for n in range(ENCODES)])) for side in ("ours", "direct")
    )
    decode_ms, decode_direct_ms = (
        float(np.median([decodes[f"{side} {n}"] for n in range(1, DECODES)])) for side in ("ours", "direct")
    )
    return {
        "encode_ms": round(encode_ms, 3),
        "encode_direct_ms": round(encode_direct_ms, 3),
        "encoder_overhead_percent": round(100 * (encode_ms / encode_direct_ms - 1), 2),
        "decode_ms": round(decode_ms, 3),
        "decode_direct_ms": round(decode_direct_ms, 3),
        "decoder_overhead_ms": round(decode_ms - decode_direct_ms, 3),
    }


def decoder_feeds(bundle: Bundle, loader: SessionLoader, embedding: Embedding, prompt: Prompt) -> Arrays:
    """What a segmenter feeds its decoder."""
    engines: list[Recorder] = []

    def recorded(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        engines.append(Recorder(loader(graph, options)))
        return engines[-1]

    with Segmenter(bundle, recorded) as segmenter:
        segmenter.decode(embedding, prompt)
    return next(engine.fed for engine in engines if engine.fed)


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True)
@click.option("--runtime", "runtimes", multiple=True, type=click.Choice(list(DIRECT)), default=tuple(DIRECT))
@size_option
@threads_option
@click.option("--rounds", type=click.IntRange(1), default=51, show_default=True)
@json_option
def main(
    model: str, runtimes: tuple[str, ...], size: str, threads: int | None, rounds: int, as_json: bool
) -> None:
    """Measure what encode and decode take beside the engines.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.overhead
      python -m sam_edge.benchmarks.speed.overhead --runtime onnxruntime --threads 2 --json
    """
    frame_wh = parse_size(size, "--size")
    report = {
        runtime: measure(model, runtime, frame_wh, threads or usable_cores(), rounds) for runtime in runtimes
    }
    if as_json:
        click.echo(json.dumps(report))
        return
    for runtime, row in report.items():
        click.echo(
            f"{runtime:<14}encode {row['encode_ms']} ms, directly {row['encode_direct_ms']} ms: "
            f"{row['encoder_overhead_percent']:+} %; decode {row['decode_ms']} ms, directly "
            f"{row['decode_direct_ms']} ms: {row['decoder_overhead_ms']:+} ms"
        )


if __name__ == "__main__":
    main()
