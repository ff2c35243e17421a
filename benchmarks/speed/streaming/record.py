"""What recording a live stream costs: how long a frame takes to be written, and how large it is.

python -m sam_edge.benchmarks.speed.streaming.record [--size WxH] [--frames N] [--json]

Frames are those of a generated scene with the noise of a camera. `png, OpenCV's own settings` is what a caller
gets who asks for nothing.
"""

from __future__ import annotations

import json
from itertools import islice
from statistics import median
from time import perf_counter

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark, json_option, size_option
from sam_edge.cli.options import parse_size
from sam_edge.imaging.image import decode_image
from sam_edge.streaming.session.images import Frames, to_file
from sam_edge.synthetic.scene import Scene

FRAMES: dict[str, Frames] = {"png": "png", "jpeg": "jpeg"}
WAYS = (*FRAMES, "png, OpenCV's own settings")


def measure(images: list[NDArray[np.uint8]], way: str) -> dict[str, float]:
    """Medians over images (H, W, 3): milliseconds to make a file and to read it, and its share of the pixels'
    bytes."""
    write_ms, read_ms, shares = [], [], []
    for image in images:
        start = perf_counter()
        if way in FRAMES:
            file = to_file(image, FRAMES[way])
        else:
            file = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        made = perf_counter()
        decode_image(file, way)
        read_ms.append((perf_counter() - made) * 1e3)
        write_ms.append((made - start) * 1e3)
        shares.append(len(file) / image.nbytes)
    return {"write_ms": median(write_ms), "read_ms": median(read_ms), "share": median(shares)}


@click.command(cls=Benchmark)
@size_option
@click.option("--frames", default=60, show_default=True, type=click.IntRange(1, 240), help="How many.")
@json_option
def main(size: str, frames: int, as_json: bool) -> None:
    """Time and size of a recorded frame."""
    width, height = parse_size(size, "--size")
    scene = Scene(seed=7, width=width, height=height)
    images = [frame.image for frame in islice(scene.frames(), frames)]
    found = {way: measure(images, way) for way in WAYS}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for way, numbers in found.items():
        mb_s = numbers["share"] * width * height * 3 * 30 / 1e6
        click.echo(
            f"{way:28s} write {numbers['write_ms']:6.1f} ms  read {numbers['read_ms']:6.1f} ms  "
            f"{numbers['share']:.3f} of the pixels, {mb_s:5.1f} MB/s at 30 frames/s"
        )


if __name__ == "__main__":
    main()
