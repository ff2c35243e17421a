"""`sam-edge demo`: the whole pipeline on a generated scene, whose masks are known."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.options import FiniteRange, model_options
from sam_edge.cli.run import frame_progress, summary
from sam_edge.imaging.overlap import mask_iou
from sam_edge.loading import load
from sam_edge.streaming.gaze.source import open_gaze
from sam_edge.streaming.replay import replay, stop_on_signals
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sources.scene import SceneSource
from sam_edge.synthetic.gaze.recording import simulate_gaze, write_gaze_csv
from sam_edge.synthetic.scene import Scene


@click.command()
@click.option("--out", type=Path, default=Path("out"), show_default=True, help="Folder for the results.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Another desk, another gaze."
)
@click.option(
    "--seconds", type=FiniteRange(0.5, 600), default=8.0, show_default=True, help="Length of the scene."
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output.")
def demo(
    out: Path,
    seed: int,
    seconds: float,
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Run the whole pipeline on a generated scene and gaze.

    Writes demo.mp4 (the view with gaze point, mask, ages and latencies), demo.jsonl (one line a gaze
    sample) and demo_gaze.csv (the simulated recording), and prints a latency table.

    \b
    Examples:
      sam-edge demo
      sam-edge demo --seed 3 --seconds 20 --out out/desk3
      sam-edge demo --model mobile_sam/ --seconds 1
    """
    recording = out / "demo_gaze.csv"
    outputs = [str(out / "demo.mp4"), str(out / "demo.jsonl")]
    overlaps: list[float] = []
    scene = Scene(seed=seed, duration_s=seconds)
    source = SceneSource(scene)
    samples = simulate_gaze(scene, seed=seed)
    with (
        load(model, runtime=runtime, precision=precision, threads=threads) as segmenter,
        stop_on_signals() as stop,
    ):
        write_gaze_csv(recording, samples, scene.width, scene.height)
        # Through the file, like a real recording: the demo shows what `run` does.
        gaze = open_gaze(str(recording))
        targets = {result.t_ns: sample.target_id for result, sample in zip(gaze, samples, strict=True)}
        with frame_progress("masking the scene", scene.frame_count) as show:

            def each(frame_result: FrameResult) -> None:
                overlaps.extend(_overlaps(frame_result, scene.labels(frame_result.frame.index), targets))
                show(frame_result)

            report = replay(segmenter, source, gaze, outputs, stop=stop, each=each)
    summary(report, as_json=as_json)
    if not as_json:
        share = f"{np.mean(overlaps):.2f}" if overlaps else "none"
        click.echo(f"mask against the object looked at, mean IoU of {len(overlaps)} samples: {share}")
        click.echo(f"wrote {', '.join([*outputs, str(recording)])}")
    return 130 if report.interrupted else 0


def _overlaps(frame_result: FrameResult, labels: NDArray[np.uint8], targets: dict[int, int]) -> list[float]:
    """IoU of each mask with the object that the gaze was meant for."""
    overlaps = []
    for result in frame_result.results:
        target = targets[result.t_ns]
        if result.masks is not None and target and (labels == target).any():
            overlaps.append(mask_iou(result.masks.binary[0], labels == target))
    return overlaps
