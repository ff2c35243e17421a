"""`sam-edge triton`: a model folder becomes a model repository for Triton Inference Server."""

from __future__ import annotations

from pathlib import Path

import click

from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import PRECISIONS, Precision
from sam_edge.exporters.triton import TritonSettings, configs, is_batched, write_repository


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--out", type=Path, required=True, help="Folder to make.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True)
@click.option(
    "--instances",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Copies of each graph on each GPU: so many requests are computed at a time.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Requests that are computed together, at most, where a graph can.",
)
def triton(model: str, out: Path, precision: Precision, instances: int, max_batch: int) -> None:
    """Write MODEL, an exported folder or a shipped model, as a model repository for Triton.

    Every graph is one model, and `segment` is an ensemble of the encoder and the decoder: a prepared image and
    prompts in, logits and predicted IoU out. Nothing is computed, and nothing has to be installed for it.

    \b
    Examples:
      sam-edge triton nano --out models/
      sam-edge triton mobile_sam/ --out models/ --precision fp16 --instances 2
      tritonserver --model-repository models/
    """
    bundle = find_bundle(model)
    settings = TritonSettings(precision, instances, max_batch)
    write_repository(bundle, out, settings)
    batched = [name for name, graph in bundle.manifest.graphs.items() if is_batched(graph)]
    click.echo(f"wrote {out}: {', '.join(configs(bundle.manifest, settings))}")
    click.echo(
        f"requests are batched by: {', '.join(batched) or 'none; many prompts of one image go in one request'}"
    )
