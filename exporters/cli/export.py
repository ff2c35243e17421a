"""`sam-edge export`: a PyTorch checkpoint becomes a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam_edge.bundle.folder import Bundle, check_target, find_bundle
from sam_edge.bundle.manifest import PRECISIONS, EngineSpec, Manifest
from sam_edge.bundle.reading import check_name
from sam_edge.cli.engine_line import engine_line
from sam_edge.cli.options import parse_size
from sam_edge.cli.progress import progress
from sam_edge.errors import CheckpointError, InputError
from sam_edge.fidelity.images import image_files
from sam_edge.fidelity.result import FidelityResult
from sam_edge.lazy import named_extras
from sam_edge.synthetic.scene import MAX_SIDE, MIN_SIDE

TARGETS = ("onnxruntime", "openvino", "tensorrt")
LAYOUT = "triton"
"""A command of its own: it needs no checkpoint and measures nothing."""
INTERFACES = ("samexporter", "official")
NOT_FREE = "non-commercial"
"""Stands in the licences of weights that may not be used commercially."""
INPUT_MULTIPLE = 16
"""Sides of every family's input are multiples of this, in pixels; some families need more."""


class FamilyOption(click.Option):
    """Lists the families in its help, and imports them, and with them PyTorch, only to do so."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        try:
            from sam_edge.modeling.families import FAMILIES

            names = ", ".join(FAMILIES)
        except ModuleNotFoundError:
            names = "sam_vit_b, mobile_sam, nano, ... (all are listed where torch is installed)"
        self.help = f"{names}.  [default: the one whose keys it has]"
        return super().get_help_record(ctx)


@click.command()
@click.argument("checkpoint", type=Path)
@click.option("--family", metavar="FAMILY", cls=FamilyOption)
@click.option("--out", type=Path, required=True, help="Folder to write; an older model there is replaced.")
@click.option("--name", help="What the model is called.  [default: the folder's name]")
@click.option(
    "--target",
    "targets",
    default="onnxruntime",
    show_default=True,
    metavar="NAME,...",
    help=f"Runtimes to make engines for: {', '.join(TARGETS)}. What this machine would choose is compared too.",
)
@click.option(
    "--precision",
    "precisions",
    default="fp32",
    show_default=True,
    metavar="NAME,...",
    help="fp32, or fp16: float16 with what it cannot hold in float32. The fp32 graphs are always there.",
)
@click.option(
    "--images",
    type=Path,
    help="Folder of images to find the ranges and to check with.  [default: generated ones]",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    help="Images to check with, at most; as many others for the ranges of fp16.  [default: 1, for fp16 3]",
)
@click.option(
    "--input",
    "input_wh",
    metavar="WxH",
    help="Input of the camera's aspect, such as 1024x576, instead of a square.",
)
@click.option(
    "--max-points",
    type=click.IntRange(6, 1000),
    help="Points that a prompt may have beside a box.  [default: 10, of nano 20]",
)
@click.option(
    "--max-tries",
    type=click.IntRange(1, 10_000),
    help="Sets of layers that are tried to repair an fp16 engine, at most.  [default: as many as it needs]",
)
@click.option(
    "--interface",
    type=click.Choice(INTERFACES),
    help="Also ONNX files for programs that read those of samexporter (encoder and decoder) or of "
    "segment_anything (decoder).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the folder's manifest.")
def export(
    checkpoint: Path,
    family: str | None,
    out: Path,
    name: str | None,
    targets: str,
    precisions: str,
    images: Path | None,
    limit: int | None,
    input_wh: str | None,
    max_points: int | None,
    max_tries: int | None,
    interface: str | None,
    as_json: bool,
) -> None:
    """Turn the weights in CHECKPOINT (.pth, .pt or .safetensors) into a model folder.

    Every engine is compared with the PyTorch model before anything is written; one that differs is repaired
    layer by layer or refused with exit code 1. So is a graph that TensorRT would not build, as far as the lint
    can tell without a GPU. Needs pip install 'sam-edge[export]'.

    \b
    Examples:
      sam-edge export mobile_sam.pt --family mobile_sam --out mobile_sam/
      sam-edge export mobile_sam.pt --out mobile_sam/ --target openvino,tensorrt --precision fp16
      sam-edge export sam_vit_b_01ec64.pth --out sam_vit_b/ --images photos/
      sam-edge export mobile_sam.pt --out mobile_sam_wide/ --input 1024x576
      sam-edge export mobile_sam.pt --out mobile_sam/ --interface official
      sam-edge segment photo.jpg --point 320,240 --model mobile_sam/
    """
    if LAYOUT in targets.split(","):
        raise InputError(
            f"--target {LAYOUT}: it is a layout of an exported folder, and not an engine",
            hint=f"export without it, then run sam-edge {LAYOUT} {out} --out MODELS",
        )
    choices: dict[str, Any] = {
        "targets": _names(targets, "--target", TARGETS),
        "precisions": _names(precisions, "--precision", PRECISIONS),
        "images": images,
        "limit": limit,
        "input_wh": _input_wh(input_wh),
        "max_points": max_points,
        "max_tries": max_tries,
        "interface": interface,
    }
    # Importing PyTorch takes seconds: what can be refused without it is refused first.
    check_target(out)
    check_name(name or out.resolve().name)
    if not checkpoint.is_file():
        reason = "it is not a file" if checkpoint.exists() else "no such file"
        raise CheckpointError(f"cannot read {checkpoint}: {reason}", path=checkpoint)
    if images is not None:
        image_files(images)
    with named_extras():
        from sam_edge.exporters.export import ExportSettings
        from sam_edge.exporters.export import export as write
    settings = ExportSettings(**choices)
    warnings: list[str] = []
    with progress() as show:
        write(checkpoint, out, family, name, show, settings, warnings)
    bundle = find_bundle(out)
    click.echo((bundle.path / "manifest.json").read_text() if as_json else _summary(bundle), nl=not as_json)
    for text in warnings:
        click.echo(text, err=True)
    if NOT_FREE in bundle.manifest.licence.lower():
        click.echo(f"warning: these weights may not be used commercially: {bundle.manifest.licence}", err=True)


def _input_wh(text: str | None) -> tuple[int, int] | None:
    """Width and height of --input, if some family could take them."""
    if text is None:
        return None
    sides = parse_size(text, "--input")
    if not all(MIN_SIDE <= side <= MAX_SIDE and side % INPUT_MULTIPLE == 0 for side in sides):
        raise InputError(
            f"--input {text}: sides are multiples of {INPUT_MULTIPLE} from {MIN_SIDE} to {MAX_SIDE} pixels",
            hint="give 1024x576, for example",
        )
    return sides


def _names(text: str, option: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Comma-separated names, each once."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in known:
            raise InputError(f"{option} {name!r}", hint=f"choose of {', '.join(known)}, separated by commas")
    return names


def _summary(bundle: Bundle) -> str:
    manifest = bundle.manifest
    megabytes = sum((bundle.path / file).stat().st_size for file in manifest.files) / 1e6
    points = max(graph.slots for graph in manifest.decoders.values()) - 2
    lines = [
        f"wrote {bundle.path}: {manifest.family}, {', '.join(manifest.graphs)}, {megabytes:.1f} MB",
        f"prompts: a box and {points} points at most",
        f"licence of the weights: {manifest.licence}",
    ]
    for key, document in manifest.fidelity.items():
        found = FidelityResult.from_document(document)
        runtime, _, precision = key.rpartition("-")
        engine = EngineSpec(runtime, "fp16" if precision == "fp16" else "fp32")
        line = engine_line(manifest, engine)
        lines.append(
            f"{line}; embedding {found.embedding_max:.1g}, logits {found.logits_max:.1g}, "
            f"predicted IoU {found.iou_max:.1g} away at most; images: {found.images}"
        )
        if raised := manifest.raised.get(engine.graphs_key):
            lines.append(f"  raised to float32: {', '.join(raised)}")
    if manifest.input_cost:
        lines.append(_shape_line(manifest))
    for name, interface in manifest.interfaces.items():
        lines.append(
            f"for clients of {name}: {', '.join(interface.files.values())}; logits "
            f"{interface.fidelity['logits_rms']:.1g} away from PyTorch"
        )
    return "\n".join(lines)


def _shape_line(manifest: Manifest) -> str:
    cost = manifest.input_cost
    width, height = manifest.input_size.sides_wh or (0, 0)
    work, square = cost["encoder_gflop"], cost["square_encoder_gflop"]
    return (
        f"input {width}x{height}: mask IoU {cost['square_mask_iou_mean']:.4f} with the square input's masks, "
        f"1st percentile {cost['square_mask_iou_p1']:.4f} of {cost['prompts']:.0f} prompts; encoder "
        f"{work:.4g} GFLOP instead of {square:.4g}, {1 - work / square:.0%} less"
    )
