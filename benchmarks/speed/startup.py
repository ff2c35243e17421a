"""Time from `import sam_edge` to the first mask, and peak memory of a run, on one runtime.

python -m sam_edge.benchmarks.speed.startup [--runtime NAME[:DEVICE]] [--source scene:0] [--gaze CSV] [--json]

Both are taken in new interpreters, which import no runtime but that one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.cli.options import runtime_option
from sam_edge.errors import EngineError
from sam_edge.host.machine import this_machine
from sam_edge.sessions.choice import best_backend
from sam_edge.streaming.gaze.sample import GazeSample

REPEATS = 5

# The clock starts before anything of ours, numpy included, is imported.
FIRST_MASK = """
import sys, time
start = time.perf_counter()
import numpy as np
import sam_edge
segmenter = sam_edge.load("nano", runtime=sys.argv[1] if len(sys.argv) > 1 else None)
image = np.zeros((720, 1280, 3), np.uint8)
masks = segmenter.decode(segmenter.encode(image), sam_edge.Prompt.points([(640, 360)]))
masks.best().binary
print(time.perf_counter() - start)
"""

# Not getrusage: a new process counts the peak of the one that started it as its own.
RUN = """
import sys
from pathlib import Path
from sam_edge.cli import main
if code := main(["run", *sys.argv[1:]]):
    sys.exit(code)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def first_mask_s(runtime: str | None = None) -> float:
    """Median seconds from import to the first full-size mask of a 1280 x 720 image."""
    arguments = [] if runtime is None else [runtime]
    return float(np.median([_last_number(FIRST_MASK, arguments) for _ in range(REPEATS)]))


def run_memory_mb(source: str, gaze: str, runtime: str | None = None) -> float:
    """Peak resident megabytes of `sam-edge run` writing a video and JSON lines."""
    chosen = [] if runtime is None else ["--runtime", runtime]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("out.mp4", "out.jsonl")]
        return _last_number(RUN, [source, *outputs, "--gaze", gaze, *chosen]) / 1024


def _last_number(code: str, arguments: list[str]) -> float:
    """What `code` prints last in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        # A traceback's last line and that of our command line are both "KIND: MESSAGE".
        last = done.stderr.strip().rpartition("\n")[2]
        raise EngineError(last.partition(": ")[2] or f"the measured program ended with {done.returncode}")
    return float(done.stdout.split()[-1])


def simulated_gaze(folder: Path) -> str:
    """A recording that wanders through the image for two seconds at 120 Hz."""
    times = np.arange(240) / 120
    samples = [
        GazeSample(round(t * 1e9), 0.5 + 0.3 * float(np.sin(t)), 0.5 + 0.3 * float(np.cos(t))) for t in times
    ]
    lines = [f"{sample.t_ns / 1e9:.6f},{sample.x_norm:.4f},{sample.y_norm:.4f},1" for sample in samples]
    path = folder / "gaze.csv"
    path.write_text("\n".join(["t_s,x_norm,y_norm,confidence", *lines]) + "\n")
    return str(path)


@click.command(cls=Benchmark)
@runtime_option
@click.option("--source", default="scene:0", show_default=True, help="What `sam-edge run` reads.")
@click.option("--gaze", help="A recording.  [default: a wandering point]")
@json_option
def main(runtime: str | None, source: str, gaze: str | None, as_json: bool) -> None:
    """Measure time to the first mask and the memory of a run.

    \b
    Examples:
      python -m sam_edge.benchmarks.speed.startup --runtime onnxruntime
      python -m sam_edge.benchmarks.speed.startup --runtime openvino --json
    """
    with tempfile.TemporaryDirectory() as folder:
        numbers = {
            "runtime": runtime or best_backend(this_machine()),
            "first_mask_s": round(first_mask_s(runtime), 3),
            "run_peak_rss_mb": round(run_memory_mb(source, gaze or simulated_gaze(Path(folder)), runtime), 1),
            "cores": os.cpu_count(),
        }
    lines = [f"{name:<18}{value}" for name, value in numbers.items()]
    click.echo(json.dumps(numbers) if as_json else "\n".join(lines))


if __name__ == "__main__":
    main()
