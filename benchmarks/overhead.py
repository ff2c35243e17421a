"""What our API adds to an engine: a whole call of ours against the engine called directly.

python -m sam_edge.benchmarks.overhead [--model nano] [--runtime NAME ...] [--size WxH] [--rounds N] [--json]

Both sides compute the same on engines with the same settings; the direct side gets its arrays ready-made,
except that the picture is made the encoder's input on both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle import Bundle, find_bundle
from sam_edge.cli.options import parse_size
from sam_edge.cores import usable_cores
from sam_edge.image import encoder_input
from sam_edge.prompt import Prompt
from sam_edge.runtime import OpenRuntime, Runtime, find_runtime
from sam_edge.segmenter import Segmenter
from sam_edge.tensors import Arrays
from sam_edge.wrapped import Wrapped

from .options import Benchmark, json_option, size_option, threads_option
from .timing import interleaved_ms

Direct = Callable[[Arrays], Any]
DECODES = 5
"""Decodes in a row of each side: the first one finds the caches full of other things, and is not counted."""


class Recorder(Wrapped):
    """An engine that remembers what it was fed last."""

    def __init__(self, engine: Runtime) -> None:
        super().__init__(engine)
        self.fed: Arrays = {}

    def run(self, feeds: Arrays) -> Arrays:
        self.fed = feeds
        return super().run(feeds)


def measure(model: str, runtime: str, frame_wh: tuple[int, int], threads: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds of both sides, and what ours adds."""
    bundle = find_bundle(model)
    image = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    prompt = Prompt.points([(frame_wh[0] / 2, frame_wh[1] / 2)])
    opener = find_runtime(runtime)[1]
    fed = _feeds(bundle, opener, image, prompt)
    direct = {name: DIRECT[runtime](bundle.graph(name), threads, feeds) for name, feeds in fed.items()}
    with Segmenter(bundle, opener, threads=threads) as segmenter:
        embedding = segmenter.encode(image)
        view, preprocess = embedding.view, segmenter.manifest.preprocess

        def encode() -> object:
            return segmenter.encode(image)

        def encode_directly() -> object:
            return direct["encoder"]({"image": encoder_input(image, view, preprocess)})

        # Either side comes first as often as second.
        calls = {"ours 0": encode, "direct 0": encode_directly, "direct 1": encode_directly, "ours 1": encode}
        encodes = interleaved_ms(calls, rounds=rounds)
        calls = {f"ours {n}": lambda: segmenter.decode(embedding, prompt) for n in range(DECODES)}
        calls |= {f"direct {n}": lambda: direct["decoder"](fed["decoder"]) for n in range(DECODES)}
        decodes = interleaved_ms(calls, rounds=rounds)
    encode_ms, encode_direct_ms = (
        float(np.mean([encodes[f"{side} {n}"] for n in range(2)])) for side in ("ours", "direct")
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


def _feeds(
    bundle: Bundle, opener: OpenRuntime, image: NDArray[np.uint8], prompt: Prompt
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """What the segmenter feeds its encoder and its decoder."""
    engines: dict[str, Recorder] = {}

    def recorded(graph: Path, threads: int | None = None) -> Runtime:
        name = graph.name.partition(".")[0]
        engines[name] = Recorder(opener(graph, threads))
        return engines[name]

    with Segmenter(bundle, recorded) as segmenter:
        segmenter.decode(segmenter.encode(image), prompt)
    return {name: dict(engine.fed) for name, engine in engines.items()}


def _onnxruntime(graph: Path, threads: int, feeds: Arrays) -> Direct:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


def _openvino(graph: Path, threads: int, feeds: Arrays) -> Direct:
    import openvino as ov

    core = ov.Core()
    model = core.read_model(str(graph))
    if model.is_dynamic():
        model.reshape({name: list(value.shape) for name, value in feeds.items()})
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda feeds: request.infer(feeds, share_inputs=True, share_outputs=True)


DIRECT: Mapping[str, Callable[[Path, int, Arrays], Direct]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


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
      python -m sam_edge.benchmarks.overhead
      python -m sam_edge.benchmarks.overhead --runtime onnxruntime --threads 2 --json
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
