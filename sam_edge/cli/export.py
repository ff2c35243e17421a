"""`sam-edge export`: a PyTorch checkpoint becomes a model folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sam_edge.bundle import Bundle, find_bundle
from sam_edge.lazy import load

STEPS = 100
"""The bar counts per cent."""


@click.command()
@click.argument("checkpoint", type=Path)
@click.option(
    "--family",
    metavar="FAMILY",
    help="sam_vit_b, sam_vit_l, sam_vit_h, mobile_sam or nano.  [default: the one whose keys it has]",
)
@click.option("--out", type=Path, required=True, help="Folder to write; an older model there is replaced.")
@click.option("--name", help="What the model is called.  [default: the folder's name]")
@click.option("--json", "as_json", is_flag=True, help="Print the folder's manifest.")
def export(checkpoint: Path, family: str | None, out: Path, name: str | None, as_json: bool) -> None:
    """Turn the weights in CHECKPOINT (.pth, .pt or .safetensors) into a model folder.

    Every graph is compared with the PyTorch model before anything is written. Needs
    pip install 'sam-edge[export]'.

    \b
    Examples:
      sam-edge export mobile_sam.pt --family mobile_sam --out mobile_sam/
      sam-edge export sam_vit_b_01ec64.pth --out sam_vit_b/
      sam-edge segment photo.jpg --point 320,240 --model mobile_sam/
    """
    write = load("sam_edge.exporters.export:export")
    bar = click.progressbar(
        length=STEPS,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
        item_show_func=lambda step: step,
        show_eta=False,
    )

    def show(step: str, done: float) -> None:
        bar.update(round(done * STEPS) - bar.pos, step)

    with bar:
        write(checkpoint, out, family, name, show)
    bundle = find_bundle(out)
    click.echo((bundle.path / "manifest.json").read_text() if as_json else _summary(bundle), nl=not as_json)


def _summary(bundle: Bundle) -> str:
    manifest = bundle.manifest
    megabytes = sum((bundle.path / file).stat().st_size for file in manifest.files) / 1e6
    lines = [
        f"wrote {bundle.path}: {manifest.family}, {', '.join(manifest.graphs)}, {megabytes:.1f} MB",
        f"licence of the weights: {manifest.licence}",
    ]
    for runtime, found in manifest.fidelity.items():
        lines.append(
            f"{runtime} against PyTorch: embedding {found['embedding_max']:.1g}, logits "
            f"{found['logits_max']:.1g}, predicted IoU {found['iou_max']:.1g} at most; masks agree to "
            f"IoU {1 - found['mask_disagreement']:.4f}"
        )
    return "\n".join(lines)
