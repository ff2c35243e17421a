"""Time from `import sam_edge` to the first mask, and memory of a run, by the operating system's count.

python -m sam_edge.benchmarks.startup [--json]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from sam_edge.streaming.gaze import GazeSample

REPEATS = 5

# Runs in a new interpreter; the clock starts before anything of ours, numpy included, is imported.
FIRST_MASK = """
import time
start = time.perf_counter()
import numpy as np
import sam_edge
segmenter = sam_edge.load("nano")
image = np.zeros((720, 1280, 3), np.uint8)
masks = segmenter.decode(segmenter.encode(image), sam_edge.Prompt.points([(640, 360)]))
masks.best().binary
print(time.perf_counter() - start)
"""


def first_mask_s() -> float:
    """Median seconds from import to the first full-size mask of a 1280 x 720 picture."""
    command = [sys.executable, "-c", FIRST_MASK]
    runs = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(REPEATS)
    ]
    return float(np.median(runs))


def run_memory_mb(source: str, gaze: str) -> float:
    """Peak resident megabytes of `sam-edge run` writing a video and JSON lines."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("out.mp4", "out.jsonl")]
        command = [sys.executable, "-m", "sam_edge", "run", source, *outputs, "--gaze", gaze]
        subprocess.run(command, check=True, capture_output=True)
    # Of all children so far this keeps the largest; the others only load a model.
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def simulated_gaze(folder: Path) -> str:
    """A recording that wanders through the picture for two seconds at 120 Hz."""
    times = np.arange(240) / 120
    samples = [
        GazeSample(round(t * 1e9), 0.5 + 0.3 * float(np.sin(t)), 0.5 + 0.3 * float(np.cos(t))) for t in times
    ]
    lines = [f"{sample.t_ns / 1e9:.6f},{sample.x_norm:.4f},{sample.y_norm:.4f},1" for sample in samples]
    path = folder / "gaze.csv"
    path.write_text("\n".join(["t_s,x_norm,y_norm,confidence", *lines]) + "\n")
    return str(path)


@click.command()
@click.option("--source", default="scene:0", show_default=True, help="What `sam-edge run` reads.")
@click.option("--gaze", help="A recording.  [default: a wandering point]")
@click.option("--json", "as_json", is_flag=True)
def main(source: str, gaze: str | None, as_json: bool) -> None:
    """Measure time to the first mask and the memory of a run."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = {
            "first_mask_s": round(first_mask_s(), 3),
            "run_peak_rss_mb": round(run_memory_mb(source, gaze or simulated_gaze(Path(folder))), 1),
            "cores": os.cpu_count(),
        }
    lines = [f"{name:<18}{value}" for name, value in numbers.items()]
    click.echo(json.dumps(numbers) if as_json else "\n".join(lines))


if __name__ == "__main__":
    main()
