"""`sam-edge verify`: do a model's engines compute what the model computes, on this device?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sam_edge.bundle.folder import Bundle, find_bundle
from sam_edge.bundle.manifest import PRECISIONS
from sam_edge.cli.progress import progress
from sam_edge.errors import CheckpointError, OutputError
from sam_edge.exporters.verify import Verdict, engines_of, store
from sam_edge.exporters.verify import verify as verify_engines
from sam_edge.fidelity.images import read_images

COLUMNS = {
    "mask_iou_mean": ("mask IoU", ".4f"),
    "mask_iou_group": ("worst graph", ".4f"),
    "mask_iou_p1": ("worst 1 %", ".4f"),
    "embedding_cosine": ("cosine", ".6f"),
    "logits_rms": ("logits", ".1e"),
    "iou_error": ("pred. IoU", ".1e"),
    "shift_px": ("shift px", ".3f"),
    "frame_rms": ("frames", ".1e"),
    "frame_mask_iou": ("their masks", ".4f"),
}
"""Fields of `FidelityResult` that have a limit, with their title and format."""

FAILED = 1
NOT_VERIFIED = 3
"""Exit code where an engine was only compared with itself."""


@click.command()
@click.argument("model", metavar="DIR")
@click.option(
    "--runtime", "runtimes", multiple=True, help="NAME or NAME:DEVICE, several times.  [default: the best here]"
)
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="[default: all]")
@click.option("--checkpoint", type=Path, help="What DIR was exported from: PyTorch is run beside the engines.")
@click.option("--images", type=Path, help="Folder of images.  [default: generated ones]")
@click.option("--limit", default=4, show_default=True, type=click.IntRange(1, 1000), help="Images, at most.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Cores an engine may use.  [default: all]")
@click.option("--repair/--no-repair", default=True, show_default=True, help="Repair fp16 engines that fail.")
@click.option(
    "--max-tries",
    type=click.IntRange(1, 10_000),
    help="Sets of layers that a repair tries, at most.  [default: as many as its search needs]",
)
@click.option("--dry-run", is_flag=True, help="Only measure: repair nothing, store nothing.")
@click.option("--json", "as_json", is_flag=True, help="The verdicts as JSON.")
def verify(
    model: str,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    checkpoint: Path | None,
    images: Path | None,
    limit: int,
    threads: int | None,
    repair: bool,
    max_tries: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Compare the engines of the model in DIR with PyTorch, or with its FP32 graphs, on this device.

    With --checkpoint PyTorch itself is asked. Without, the FP32 graphs run in onnxruntime on the processor,
    which is first compared with answers of PyTorch that the folder has from its export. Images and many
    prompts of every kind go through both engines. One passes if its masks agree to a mean IoU of 0.999 (fp32)
    or 0.995 (fp16), those of each graph by themselves too, lie where they should, and embedding, logits and
    predicted IoU are as near. An fp16 engine that fails is searched for the layers that cause it, which are
    raised to float32. What was found is stored in the folder; an engine that fails cannot be loaded afterwards.

    TensorRT runs plans that are built on this device. Those that are missing are built, as by sam-edge build,
    and kept in its cache; those of graphs that were only tried are not.

    Exit code 0: all pass. 1: one fails. 2: bad input. 3: no engine failed, but at least one had no reference to
    compare with, because the folder has no answers of PyTorch.

    \b
    Examples:
      sam-edge verify mobile_sam/
      sam-edge verify mobile_sam/ --checkpoint mobile_sam.pt --images photos/
      sam-edge verify mobile_sam/ --runtime openvino --runtime openvino:GPU --images photos/
      sam-edge verify mobile_sam/ --runtime tensorrt --precision fp16 --json
    """
    bundle = find_bundle(model)
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"cannot read {checkpoint}: it is not a file", path=checkpoint)
    engines = engines_of(bundle, runtimes, precisions)
    shown = read_images(images, limit)
    with progress() as show:
        verdicts, found = verify_engines(
            bundle,
            engines,
            shown,
            checkpoint=checkpoint,
            repair=repair and not dry_run,
            max_tries=max_tries,
            threads=threads,
            progress=show,
        )
    stored = not dry_run and _store(found)
    document = _document(bundle.manifest.name, verdicts, stored)
    click.echo(json.dumps(document, indent=2) if as_json else _table(document, dry_run))
    if not all(verdict.passed for verdict in verdicts):
        return FAILED
    return 0 if all(verdict.verified for verdict in verdicts) else NOT_VERIFIED


def _store(bundle: Bundle) -> bool:
    try:
        return store(bundle)
    except OutputError as error:
        # The verdicts are worth more than their place.
        click.echo(f"note: {error}", err=True)
        return False


def _document(name: str, verdicts: list[Verdict], stored: bool) -> dict[str, Any]:
    return {
        "model": name,
        "stored": stored,
        "engines": [
            {
                "runtime": verdict.engine.runtime,
                "precision": verdict.engine.precision,
                "passed": verdict.passed,
                "verified": verdict.verified,
                "violations": list(verdict.violations),
                "repaired": verdict.repaired,
                "raised": list(verdict.raised),
                "departs_at": verdict.departs_at,
                "against": verdict.against,
                "note": verdict.note,
                "found": verdict.found.to_document(),
            }
            for verdict in verdicts
        ],
    }


def _table(document: dict[str, Any], dry_run: bool) -> str:
    lines = [f"{'engine':<24}" + "".join(f"{title:>13}" for title, _ in COLUMNS.values()) + "   against"]
    for engine in document["engines"]:
        found = engine["found"]
        numbers = "".join(
            f"{format(found[name], form) if name in found else '-':>13}" for name, (_, form) in COLUMNS.items()
        )
        verdict = ("pass" if engine["verified"] else "not verified") if engine["passed"] else "FAIL"
        title = f"{engine['runtime']} {engine['precision']}"
        lines.append(f"{title:<24}{numbers}   {engine['against']}  {verdict}")
        if engine["violations"]:
            lines.append(f"  {', '.join(engine['violations'])}")
        if engine["note"]:
            lines.append(f"  {engine['note']}")
        if engine["departs_at"]:
            lines.append(f"  departs at {engine['departs_at']}")
        if engine["repaired"]:
            lines.append(
                f"  repaired; raised to float32: {', '.join(engine['raised']) or 'what the ranges ask for'}"
            )
    if not document["stored"]:
        why = "--dry-run" if dry_run else "a shipped model, or a folder that cannot be written"
        lines.append(f"nothing was stored: {why}")
    return "\n".join(lines)
