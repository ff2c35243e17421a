"""`sam-edge demo`: the whole pipeline in real time, on a generated scene whose masks are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import click
import numpy as np

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.live import failed, live_summary, watch
from sam_edge.cli.options import FiniteRange, model_options
from sam_edge.cli.progress import progress
from sam_edge.imaging.overlap import mask_iou
from sam_edge.loading import load
from sam_edge.streaming.gaze.source import open_gaze
from sam_edge.streaming.live.api import stream
from sam_edge.streaming.replay import stop_on_signals
from sam_edge.streaming.result import FrameResult, Result
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
    """Run the whole pipeline on a generated scene and gaze, in real time.

    Frames come 30 times a second and gaze 200 times, as from a camera and an eye tracker; the ages that are
    shown are true. Writes demo.mp4 (the view with gaze point, mask and ages), demo.jsonl (one line a result)
    and demo_gaze.csv (the simulated recording), and prints a latency table.

    \b
    Examples:
      sam-edge demo
      sam-edge demo --seed 3 --seconds 20 --out out/desk3
      sam-edge demo --model mobile_sam/ --seconds 1
    """
    recording = out / "demo_gaze.csv"
    outputs = [str(out / "demo.mp4"), str(out / "demo.jsonl")]
    scene = Scene(seed=seed, duration_s=seconds)
    samples = simulate_gaze(scene, seed=seed)
    answers: list[tuple[int, Result]] = []
    with (
        load(model, runtime=runtime, precision=precision, threads=threads) as segmenter,
        stop_on_signals() as stop,
    ):
        source = SceneSource(scene)
        with progress() as bar:
            # Drawing them meanwhile would take the engines' cores.
            source.draw(bar)
        write_gaze_csv(recording, samples, scene.width, scene.height)
        # Through the file, like a real recording: the demo shows what `run --live` does.
        gaze = open_gaze(str(recording))

        def each(frame_result: FrameResult) -> None:
            # Compared with the truth afterwards, so that it delays no mask.
            answers.extend((frame_result.frame.index, result) for result in frame_result.results)

        running = stream(source, gaze, model=segmenter, sinks=outputs, each=each)
        report = watch(running, "masking the scene", stop, None)
    live_summary(running, report, as_json=as_json)
    if not as_json:
        overlaps = _overlaps(scene, answers, {sample.t_ns: sample.target_id for sample in samples})
        share = f"{np.mean(overlaps):.2f}" if overlaps else "none"
        click.echo(f"mask against the object looked at, mean IoU of {len(overlaps)} masks: {share}")
        click.echo(f"wrote {', '.join([*outputs, str(recording)])}")
    return 130 if stop.is_set() else 2 * failed(running)


def _overlaps(scene: Scene, answers: list[tuple[int, Result]], targets: dict[int, int]) -> list[float]:
    """IoU of each mask that was decoded, on the frame it was shown on, with the object the gaze was meant
    for."""
    overlaps = []
    labels = cache(scene.labels)
    for index, result in answers:
        if result.masks is None or result.gaze is None or result.reused:
            continue
        t_ns = result.t_ns - result.gaze.offset_ns
        target = min(targets.items(), key=lambda item: abs(item[0] - t_ns))[1]
        truth = labels(index) == target
        if target and truth.any():
            overlaps.append(mask_iou(result.masks.binary[0], truth))
    return overlaps
