"""`sam-edge segment`: an image and a prompt become masks."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.cli.options import model_options
from sam_edge.cli.quiet import quiet_stderr
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.imaging.coco import describe
from sam_edge.imaging.image import check_image_name, read_image, write_image
from sam_edge.loading import load
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import atomic_path, check_outputs, os_errors_as_output_error, write_bytes


@click.command()
@click.argument("image")
@click.option("--point", "points", multiple=True, metavar="X,Y[,0|1]", help="On the object (1) or not (0).")
@click.option("--box", metavar="X0,Y0,X1,Y1", help="Around the object, in pixels.")
@click.option(
    "--multimask/--single",
    default=None,
    help="Three masks or one.  [default: three for one point or one box, which are ambiguous]",
)
@model_options
@click.option("--out", type=Path, help="The most confident mask as an image, 255 on the object.")
@click.option("--overlay", type=Path, help="The image with mask and prompt drawn in.")
@click.option("--json", "json_to", metavar="FILE|-", help="Masks as COCO run lengths, and timings.")
@click.option("--npz", type=Path, help="embedding, logits, iou and masks as arrays.")
def segment(
    image: str,
    points: tuple[str, ...],
    box: str | None,
    multimask: bool | None,
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    out: Path | None,
    overlay: Path | None,
    json_to: str | None,
    npz: Path | None,
) -> None:
    """Mask what points or a box show in IMAGE.

    \b
    Examples:
      sam-edge segment cup.jpg --point 320,240 --out mask.png
      sam-edge segment cup.jpg --point 320,240 --point 40,40,0 --overlay cup_mask.jpg
      sam-edge segment cup.jpg --box 210,120,400,330 --json - --npz cup.npz
      sam-edge segment cup.jpg --point 320,240 --model mobile_sam/ --out mask.png
    """
    check_outputs([image], (out, overlay, json_to, npz))
    for drawn_to in (out, overlay):
        if drawn_to is not None:
            check_image_name(drawn_to)
    prompt = _prompt(points, box)
    with quiet_stderr():
        photo = read_image(image)
    clock = _Clock()
    with load(model, runtime=runtime, precision=precision, threads=threads) as segmenter:
        # Before the encoder, which may take seconds.
        prompt.check_inside(segmenter.view((photo.shape[1], photo.shape[0])))
        clock.lap("load")
        embedding = segmenter.encode(photo)
        clock.lap("encode")
        masks = segmenter.decode(embedding, prompt, multimask=multimask)
        clock.lap("decode")
        say_engine(segmenter)
        document = _document(masks, segmenter)
        clock.lap("masks")
    document["timings_ms"] = clock.laps_ms
    best = masks.best()
    if out:
        write_image(out, best.binary[0].astype(np.uint8) * 255)
    if overlay:
        write_image(overlay, _drawn(photo, best, prompt))
    if npz:
        _write_npz(npz, embedding, masks)
    if json_to and json_to != "-":
        write_bytes(json_to, (json.dumps(document, indent=2) + "\n").encode())
    click.echo(json.dumps(document, indent=2) if json_to == "-" else _table(document))


class _Clock:
    """Milliseconds between laps, by name."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.laps_ms[name] = round((now - self._last) * 1e3, 3)
        self._last = now


def _prompt(points: tuple[str, ...], box: str | None) -> Prompt:
    if not points and not box:
        raise InputError("nothing points at the object", hint="give --point X,Y or --box X0,Y0,X1,Y1")
    parsed = [_numbers(text, "--point", "X,Y[,0|1]", (2, 3)) for text in points]
    labels = [point[2] if len(point) == 3 else 1.0 for point in parsed]
    for text, label in zip(points, labels, strict=True):
        if label not in (0, 1):
            raise InputError(f"--point {text!r}: after X,Y comes 1 (on the object) or 0 (not on it)")
    if not box and not any(labels):
        raise InputError(
            "every --point says where the object is not", hint="give one that is on it, or a --box"
        )
    corners = _numbers(box, "--box", "X0,Y0,X1,Y1", (4,)) if box else None
    xy = np.array([point[:2] for point in parsed]).reshape(-1, 2)
    return Prompt.points(xy, labels, box=corners)


def _numbers(text: str, option: str, form: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise InputError(f"{option} {text!r} is not of the form {form}")
    if not np.isfinite(numbers).all():
        raise InputError(f"{option} {text!r}", hint="give finite numbers")
    return numbers


def _document(masks: Masks, segmenter: Segmenter) -> dict[str, Any]:
    width, height = masks.view.frame_wh
    return {
        "model": segmenter.manifest.model_id,
        "engine": None if segmenter.engine is None else str(segmenter.engine),
        "image_size": {"width": width, "height": height},
        "best": int(masks.predicted_iou.argmax()),
        "masks": describe(masks),
    }


def _drawn(photo: np.ndarray, best: Masks, prompt: Prompt) -> np.ndarray:
    from sam_edge.streaming.sinks.overlay import draw_mask, draw_prompt

    drawn = photo.copy()
    draw_mask(drawn, best.binary[0])
    draw_prompt(drawn, prompt)
    return drawn


def _write_npz(path: Path, embedding: Embedding, masks: Masks) -> None:
    # Through an open file, because numpy adds .npz to names that lack it.
    with atomic_path(path) as temporary, os_errors_as_output_error(path), temporary.open("wb") as file:
        np.savez_compressed(
            file,
            embedding=embedding.tensors["embedding"],
            logits=masks.logits,
            iou=masks.predicted_iou,
            masks=masks.binary,
        )


def _table(document: dict[str, Any]) -> str:
    lines = [f"{'mask':<6}{'IoU':>7}{'stable':>8}{'area':>10}   left, top, width, height"]
    for index, mask in enumerate(document["masks"]):
        mark = "*" if index == document["best"] else " "
        box = ", ".join(str(side) for side in mask["bbox"])
        lines.append(
            f"{index}{mark:<5}{mask['predicted_iou']:>7.3f}{mask['stability_score']:>8.3f}"
            f"{mask['area']:>10}   {box}"
        )
    times = "  ".join(f"{stage} {ms:.1f} ms" for stage, ms in document["timings_ms"].items())
    return "\n".join([*lines, times])
