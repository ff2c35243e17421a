"""Encoder and decoder on a CUDA device, with embeddings that stay on the device and ones that do not.

python -m sam_edge.benchmarks.speed.cuda [--model nano|FOLDER] [--precision fp16] [--size WxH] \
    [--rounds N] [--json]

Through onnxruntime-gpu. Every variant is a whole segmenter; they take turns frame by frame in one process, so
that clocks and temperature meet all of them. Needs pip install 'sam-edge[gpu]'; exits 2 without a device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import Precision
from sam_edge.cli.options import parse_size
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.precision import choose_engine
from sam_edge.sessions.session import Session, SessionOptions, Wrapper
from sam_edge.tensors import Arrays

WARMUP = 3
"""Rounds before the clock counts: algorithms are searched in them."""
VARIANTS = {"resident off": False, "resident on": True}
"""Name -> whether the embedding stays on the device between encoder and decoder."""


@dataclass(frozen=True)
class Timing:
    """Medians and 99th percentiles of one variant, copies to and from the device included."""

    encoder_ms: float
    encoder_p99_ms: float
    decoder_ms: float
    decoder_p99_ms: float
    logits_difference: float
    """Largest difference to the logits of the first variant."""


class Timed(Wrapper):
    """An engine that notes how long each run took."""

    def __init__(self, engine: Session, times_ms: list[float]) -> None:
        super().__init__(engine)
        self._times_ms = times_ms

    def run(self, feeds: Arrays) -> Arrays:
        start = perf_counter()
        answer = super().run(feeds)
        self._times_ms.append((perf_counter() - start) * 1e3)
        return answer


class Candidate:
    """A segmenter whose sessions run in one way, and their times."""

    def __init__(self, bundle: Bundle, device: str, precision: Precision | None, resident: bool) -> None:
        self.times_ms: dict[str, list[float]] = {}
        self._load, self._resident = find_runtime(f"onnxruntime:{device}"), resident
        engine = choose_engine(bundle, f"onnxruntime:{device}", precision)
        self.segmenter = Segmenter(bundle, self._timed, engine=engine)
        self.logits = np.zeros(0, np.float32)

    def _timed(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        times = self.times_ms.setdefault(graph.name.partition(".")[0], [])
        return Timed(
            self._load(graph, options if self._resident else replace(options, host_outputs=None)), times
        )

    def frame(self, image: np.ndarray, prompt: Prompt) -> None:
        """One frame and one prompt on it."""
        self.logits = self.segmenter.decode(self.segmenter.encode(image), prompt).logits

    def timing(self, reference: np.ndarray) -> Timing:
        encoder, decoder = (self.times_ms[name][WARMUP:] for name in ("encoder", "decoder"))
        return Timing(
            encoder_ms=float(np.median(encoder)),
            encoder_p99_ms=float(np.percentile(encoder, 99)),
            decoder_ms=float(np.median(decoder)),
            decoder_p99_ms=float(np.percentile(decoder, 99)),
            logits_difference=float(np.abs(self.logits - reference).max()),
        )


def measure(
    bundle: Bundle,
    frame_wh: tuple[int, int],
    rounds: int,
    device: str = "cuda",
    precision: Precision | None = None,
) -> Mapping[str, Timing]:
    """Timings by variant.

    Raises:
        EngineError: no such device.
    """
    width, height = frame_wh
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    prompt = Prompt.points([(width / 2, height / 2)])
    candidates = {name: Candidate(bundle, device, precision, resident) for name, resident in VARIANTS.items()}
    for _ in range(WARMUP + rounds):
        for candidate in candidates.values():
            candidate.frame(image, prompt)
    reference = next(iter(candidates.values())).logits
    timings = {name: candidate.timing(reference) for name, candidate in candidates.items()}
    for candidate in candidates.values():
        candidate.segmenter.close()
    return timings


def table(timings: Mapping[str, Timing]) -> str:
    """The result as aligned lines."""
    lines = [f"{'':<28}{'encoder ms':>12}{'p99':>9}{'decoder ms':>12}{'p99':>9}{'logits differ':>15}"]
    for name, timing in timings.items():
        lines.append(
            f"{name:<28}{timing.encoder_ms:>12.3f}{timing.encoder_p99_ms:>9.3f}"
            f"{timing.decoder_ms:>12.3f}{timing.decoder_p99_ms:>9.3f}{timing.logits_difference:>15.1e}"
        )
    return "\n".join(lines)


@click.command(cls=Benchmark)
@click.option("--model", default="nano", show_default=True, help="A shipped model, or an exported folder.")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16"]), help="[default: fp16 where the folder has it]"
)
@size_option
@click.option("--rounds", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "--device", type=click.Choice(["cuda", "tensorrt", "cpu"]), default="cuda", show_default=True,
    help="cpu tries the same code without a GPU; its times say nothing.",
)  # fmt: skip
@json_option
def main(model: str, precision: Precision | None, size: str, rounds: int, device: str, as_json: bool) -> None:
    """Time encoder and decoder with device-resident embeddings on and off.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.cuda
      python -m sam_edge.benchmarks.speed.cuda --model mobile_sam/ --precision fp16 --json
    """
    timings = measure(find_bundle(model), parse_size(size, "--size"), rounds, device, precision)
    if as_json:
        document = {"timings": {name: asdict(timing) for name, timing in timings.items()}}
        click.echo(json.dumps({"model": model, "size": size, "device": device, "rounds": rounds} | document))
        return
    click.echo(table(timings))


if __name__ == "__main__":
    main()
