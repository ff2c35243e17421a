"""Mask IoU against the age of the encoded frame and the head's speed: nothing done, carried, encoded afresh.

python -m sam_edge.benchmarks.quality.carry [--video FOLDER] [--model nano] [--runtime NAME] [--seeds N]
    [--quick] [--plot FILE.png] [--json FILE]

Generated scenes with a head that turns steadily, and real videos with masks. (a) The point is asked on the old
frame and the mask shown as it is. (b) The point is carried back to that frame and the mask forward, by the
motion measured on the frames between; and, where the gaze went another way than the background, by the gaze's
motion. (c) A window round the point is encoded anew, and judged when it is done; or that of the frame before is
carried. An object that the old frame does not show has IoU 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sam_edge.benchmarks.options import Benchmark, threads_option
from sam_edge.cli.progress import progress
from sam_edge.imaging.image import check_image_name
from sam_edge.loading import load
from sam_edge.storage.files import check_outputs, write_bytes

from .generated import look_at_scenes
from .methods import costs_ms
from .recorded import frame_rates, look_at_videos
from .records import Look, cells, confidence
from .report import draw, tables

SPEEDS = (0.0, 25.0, 50.0, 100.0, 150.0, 200.0)


def summary(looks: Sequence[Look]) -> dict[str, Any]:
    """Its cells, those of objects at rest that the old frame shows, and what motions say of themselves."""
    return {
        "looks": len(looks),
        "cells": cells(looks),
        "at_rest": cells([look for look in looks if look.in_view and not look.moves]),
        "confidence": confidence(looks),
    }


@click.command(cls=Benchmark)
@click.option("--video", type=Path, metavar="FOLDER", help="Labelled videos, such as DAVIS, too.")
@click.option("--model", default="nano", show_default=True, help="A shipped model, or a folder.")
@click.option("--runtime", metavar="NAME[:DEVICE]")
@threads_option
@click.option("--seeds", type=click.IntRange(1), default=6, show_default=True, help="Scenes of each speed.")
@click.option("--quick", is_flag=True, help="One scene, two speeds, every 20th frame of the videos: to try it.")
@click.option("--plot", type=Path, metavar="FILE.png", help="The curves as an image.")
@click.option("--json", "json_to", type=Path, metavar="FILE", help="Everything as JSON.")
def main(
    video: Path | None,
    model: str,
    runtime: str | None,
    threads: int | None,
    seeds: int,
    quick: bool,
    plot: Path | None,
    json_to: Path | None,
) -> None:
    """Print how good masks of old pixels are, and what carrying them along with the camera gains.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.carry --video ../shared/data/davis2016 --plot docs/carry.png
      python -m sam_edge.benchmarks.quality.carry --quick --json carry.json
    """
    check_outputs([], (plot, json_to))
    if plot is not None:
        check_image_name(plot)
    if video is not None:
        frame_rates(video)
    speeds = SPEEDS[::3] if quick else SPEEDS
    with load(model, runtime=runtime, threads=threads) as segmenter, progress() as shown:
        costs = costs_ms(segmenter, rounds=3 if quick else 41)
        sets = {
            "generated scenes": look_at_scenes(segmenter, costs, 1 if quick else seeds, speeds, shown),
        }
        if video is not None:
            sets["real video"] = look_at_videos(segmenter, costs, video, 20 if quick else 4, shown)
        document = {
            "model": segmenter.manifest.model_id,
            "engine": str(segmenter.engine),
            "costs_ms": costs,
            "sets": {name: summary(looks) for name, looks in sets.items()},
        }
    click.echo(tables(document))
    if json_to is not None:
        write_bytes(json_to, (json.dumps(document, indent=1) + "\n").encode())
    if plot is not None:
        draw(plot, document)


if __name__ == "__main__":
    main()
