"""`sam-edge distill`: a small encoder learns to be a large model's."""

from __future__ import annotations

from pathlib import Path

import click

from sam_edge.cli.options import FiniteRange
from sam_edge.cli.progress import progress
from sam_edge.lazy import named_extras


@click.command()
@click.option("--teacher", type=Path, required=True, help="Checkpoint of a SAM (.pth, .pt, .safetensors).")
@click.option("--family", metavar="FAMILY", help="The teacher's.  [default: the one whose keys it has]")
@click.option("--images", type=Path, required=True, help="Folder of images; they need no labels.")
@click.option("--student", type=click.Choice(["nano"]), default="nano", show_default=True)
@click.option("--out", type=Path, required=True, help="Folder for the student; a run stopped there goes on.")
@click.option(
    "--minutes",
    type=FiniteRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Length of the whole run, with the teacher's embeddings.",
)
@click.option("--steps", type=click.IntRange(1), help="Steps of learning, instead of --minutes.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Images a step.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def distill(
    teacher: Path,
    family: str | None,
    images: Path,
    student: str,
    out: Path,
    minutes: float,
    steps: int | None,
    batch: int,
    seed: int,
    device: str,
) -> None:
    """Train nano's encoder to give the embedding, and so the masks, of any SAM-family teacher.

    The teacher's decoder is kept, so the result is a checkpoint that `sam-edge export` takes. The teacher's
    embeddings are computed first, once, and kept in OUT/teacher, 2 MB an image. They take the teacher's
    encoder an image, seconds each on a CPU, and count as part of --minutes. Needs
    pip install 'sam-edge[train]'.

    \b
    Examples:
      sam-edge distill --teacher mobile_sam.pt --images photos/ --out distilled/ --minutes 300
      sam-edge export distilled/student.safetensors --out small_sam/
      sam-edge segment photo.jpg --point 320,240 --model small_sam/
    """
    with named_extras("train"):
        from .distill import distill as run
        from .runs.schedule import Length
    length = Length(minutes, steps)
    with progress() as shown:
        target = run(
            teacher,
            images,
            out,
            family,
            length=length,
            batch=batch,
            seed=seed,
            device=device,
            progress=shown,
        )
    click.echo(f"wrote {target}; next: sam-edge export {target} --out MODEL_FOLDER")
