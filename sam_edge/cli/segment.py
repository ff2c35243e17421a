"""`sam-edge segment`: images and a prompt become masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.manifest import Precision
from sam_edge.cli.engine_line import say_engine
from sam_edge.cli.options import model_options
from sam_edge.cli.prompt_options import parse_prompt, parse_window
from sam_edge.cli.quiet import quiet_stderr
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.image import check_image_name, read_image, write_image
from sam_edge.loading import load
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.storage.files import atomic_path, check_outputs, os_errors_as_output_error, write_bytes

SMALL_PX = 64
"""A model that sees an image with a side smaller than this finds little in it."""
FAILED = 2
"""Exit code when one of several images failed."""


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="X,Y[,0|1]",
    help="On the object (1) or not (0). nano takes 20; an exported model 10, or what export --max-points said.",
)
@click.option("--box", metavar="X0,Y0,X1,Y1", help="Around the object, in pixels; cut to the image.")
@click.option(
    "--window",
    metavar="X,Y,W,H",
    help="The part of the image that the model sees, such as a piece of a panorama.  [default: all]",
)
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
@click.option("--out-dir", type=Path, help="A folder for NAME_mask.png and NAME_overlay.png of each image.")
def segment(
    images: tuple[str, ...],
    points: tuple[str, ...],
    box: str | None,
    window: str | None,
    multimask: bool | None,
    model: str,
    runtime: str | None,
    precision: Precision | None,
    threads: int | None,
    out: Path | None,
    overlay: Path | None,
    json_to: str | None,
    npz: Path | None,
    out_dir: Path | None,
) -> int:
    """Segment what points or a box show in each IMAGE.

    Several images get the same prompt. One that cannot be read, or that the prompt does not fit, is reported
    and the others are done; the exit code is then 2. With several, --json is an array.

    \b
    Examples:
      sam-edge segment cup.jpg --point 320,240 --out mask.png
      sam-edge segment cup.jpg --point 320,240 --point 40,40,0 --overlay cup_mask.jpg
      sam-edge segment cup.jpg --box 210,120,400,330 --json - --npz cup.npz
      sam-edge segment cup.jpg --point 320,240 --model mobile_sam/ --out mask.png
      sam-edge segment panorama.jpg --window 9000,0,600,400 --point 9300,210 --out mask.png
      sam-edge segment photos/*.jpg --point 320,240 --out-dir masks/ --json masks.json
    """
    several = len(images) > 1
    if several and (out or overlay or npz):
        raise InputError("--out, --overlay and --npz are for one image", hint="give --out-dir")
    masks_to, overlays_to = _files(images, out, overlay, out_dir)
    check_outputs(images, (json_to, npz, *masks_to, *overlays_to))
    for drawn_to in (out, overlay):
        if drawn_to is not None:
            check_image_name(drawn_to)
    request = _Request(parse_prompt(points, box), parse_window(window), multimask)
    documents = []
    open_model = partial(load, model, runtime=runtime, precision=precision, threads=threads)
    found = _answers(images, request, open_model)
    for image, answer, mask_to, overlay_to in zip(images, found, masks_to, overlays_to, strict=True):
        if isinstance(answer, InputError):
            documents.append(_failed(image, answer, several))
            continue
        for note in answer.notes:
            click.echo(f"note: {image}: {note}" if several else f"note: {note}", err=True)
        document = {"image": image, **answer.document}
        documents.append(document)
        best = answer.masks.best()
        if mask_to:
            write_image(mask_to, best.binary[0].astype(np.uint8) * 255)
        if overlay_to:
            write_image(overlay_to, _drawn(answer.photo, best, answer.prompt))
        if npz:
            _write_npz(npz, answer.embedding, answer.masks)
        if json_to != "-":
            click.echo(f"{image}\n{_table(document)}" if several else _table(document))
    _write_json(documents if several else documents[0], json_to)
    return FAILED if any("error" in document for document in documents) else 0


@dataclass(frozen=True)
class _Request:
    """What is asked of every image."""

    prompt: Prompt
    window_xywh: tuple[int, int, int, int] | None
    """None: the whole image."""
    multimask: bool | None


@dataclass(frozen=True, eq=False)
class _Answer:
    """What the model said about an image."""

    photo: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    embedding: Embedding
    masks: Masks
    prompt: Prompt
    """As the model saw it: its box is cut to the image."""
    document: dict[str, Any]
    """The results as JSON takes them."""
    notes: list[str]
    """What the user should know, a sentence each."""


def _answers(
    images: Sequence[str], request: _Request, open_model: Callable[[], Segmenter]
) -> Iterator[_Answer | InputError]:
    """The answer to each image, or why there is none."""
    with ExitStack() as stack:
        segmenter: Segmenter | None = None
        load_ms, said = 0.0, False
        for image in images:
            try:
                with quiet_stderr():
                    photo = read_image(image)
            except InputError as error:
                yield error
                continue
            # Not before there is an image to segment: building a model's engines may take minutes.
            if segmenter is None:
                start = perf_counter()
                segmenter = stack.enter_context(open_model())
                load_ms = _since_ms(start)
            try:
                answer = _answer(segmenter, photo, request, load_ms)
            except InputError as error:
                yield error
                continue
            if not said:
                say_engine(segmenter)
                said = True
            yield answer


def _answer(segmenter: Segmenter, photo: NDArray[np.uint8], request: _Request, load_ms: float) -> _Answer:
    view = segmenter.view((photo.shape[1], photo.shape[0]), request.window_xywh)
    # Before the encoder, which may take seconds.
    request.prompt.check_inside(view)
    times_ms = {"load": load_ms}
    start = perf_counter()
    embedding = segmenter.encode(photo, view)
    times_ms["encode"], start = _since_ms(start), perf_counter()
    masks = segmenter.decode(embedding, request.prompt, multimask=request.multimask)
    times_ms["decode"], start = _since_ms(start), perf_counter()
    described = masks.to_coco()
    times_ms["masks"] = _since_ms(start)
    prompt = request.prompt
    cut = prompt.cut_box(view)
    if prompt.box_px is None or cut == tuple(prompt.box_px.tolist()):
        cut = None
    document = {
        "model": segmenter.manifest.model_id,
        "engine": None if segmenter.engine is None else str(segmenter.engine),
        "image_size": {"width": photo.shape[1], "height": photo.shape[0]},
        "window": list(view.window_xywh),
        # The box as the model saw it, where it reached outside.
        "cut": cut and list(cut),
        "best": int(masks.predicted_iou.argmax()),
        "masks": described,
        "timings_ms": times_ms,
    }
    seen = replace(prompt, box_px=np.array(cut)) if cut else prompt
    return _Answer(photo, embedding, masks, seen, document, list(_notes(view, cut)))


def _notes(view: View, cut: tuple[float, float, float, float] | None) -> Iterator[str]:
    _, _, width, height = view.window_xywh
    place = "image" if (width, height) == view.frame_wh else "window"
    if cut is not None:
        box = ",".join(f"{side:g}" for side in cut)
        yield f"the box reaches outside the {place} and was cut to {box}"
    if min(view.content_wh) < SMALL_PX < min(width, height):
        seen = f"{view.content_wh[0]} x {view.content_wh[1]}"
        yield f"the model sees this {place} of {width} x {height} pixels as {seen}: give a smaller --window"


def _failed(image: str, error: InputError, several: bool) -> dict[str, Any]:
    """Report an image that has no result; the error itself ends the command if there is no other image."""
    if not several:
        raise error
    click.echo(f"error: {error}" if image in str(error) else f"error: {image}: {error}", err=True)
    return {"image": image, "error": str(error)}


def _files(
    images: Sequence[str], out: Path | None, overlay: Path | None, out_dir: Path | None
) -> tuple[list[Path | None], list[Path | None]]:
    """Where the mask and the overlay of each image go; None is nowhere."""
    if out_dir is None:
        return [out] * len(images), [overlay] * len(images)
    if out or overlay:
        raise InputError("--out-dir holds mask and overlay", hint="leave --out and --overlay out")
    names = [Path(image).stem for image in images]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two images are called {name}", hint="segment them in two runs, with an --out-dir each"
            )
    return [out_dir / f"{name}_mask.png" for name in names], [out_dir / f"{name}_overlay.png" for name in names]


def _since_ms(start: float) -> float:
    return round((perf_counter() - start) * 1e3, 3)


def _write_json(document: Any, json_to: str | None) -> None:
    text = json.dumps(document, indent=2) + "\n"
    if json_to == "-":
        click.echo(text, nl=False)
    elif json_to:
        write_bytes(json_to, text.encode())


def _drawn(photo: NDArray[np.uint8], best: Masks, prompt: Prompt) -> NDArray[np.uint8]:
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
    lines = [f"{'mask':<6}{'predicted IoU':>13}{'stability':>11}{'area':>10}   left, top, width, height"]
    for index, mask in enumerate(document["masks"]):
        mark = "*" if index == document["best"] else " "
        box = ", ".join(str(side) for side in mask["bbox"])
        lines.append(
            f"{index}{mark:<5}{mask['predicted_iou']:>13.3f}{mask['stability_score']:>11.3f}"
            f"{mask['area']:>10}   {box}"
        )
    times = "  ".join(f"{stage} {ms:.1f} ms" for stage, ms in document["timings_ms"].items())
    return "\n".join([*lines, times])
