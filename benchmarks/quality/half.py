"""What float16 costs a family at full size without trained weights: with the ones PyTorch starts from.

    python -m sam_edge.benchmarks.quality.half photos/ --family mobile_sam

Such weights keep the scale of what each layer is given, as trained weights do, and so stand in for them.
The model is exported as `sam-edge export --precision fp16` does it, and passes or fails its gate.
Needs pip install 'sam-edge[cpu,export]'.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from sam_edge.benchmarks.options import Benchmark, json_option
from sam_edge.bundle.folder import find_bundle
from sam_edge.lazy import import_object

Fidelity = Mapping[str, Mapping[str, float]]
SHOWN = ("mask_iou_mean", "mask_iou_group", "mask_iou_p1", "embedding_cosine", "logits_rms", "iou_error")


def measure(family: str, images: Path, limit: int) -> Fidelity:
    """Engine -> how near it is to PyTorch, of weights drawn with seed 0.

    Raises:
        InputError: no such family, or no images.
        FidelityError: an engine does not pass, even after its worst layers were raised to float32.
    """
    import torch

    spec = import_object("sam_edge.modeling.families:find_family")(family)
    settings = import_object("sam_edge.exporters.export:ExportSettings")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "weights.pth"
        torch.save(spec.build().state_dict(), checkpoint)
        chosen = settings(precisions=("fp16",), images=images, limit=limit)
        export = import_object("sam_edge.exporters.export:export")
        return find_bundle(export(checkpoint, Path(folder) / family, family, settings=chosen)).manifest.fidelity


@click.command(cls=Benchmark)
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--family", default="mobile_sam", show_default=True)
@click.option("--limit", type=click.IntRange(1), default=3, show_default=True, help="Images to check with.")
@json_option
def main(images: Path, family: str, limit: int, as_json: bool) -> None:
    """Export a family with untrained weights in float16, and print how near its engines are to PyTorch.

    Ranges are found on as many other images of the folder IMAGES.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.half photos/
      python -m sam_edge.benchmarks.quality.half photos/ --family edge_sam --limit 1 --json
    """
    found = measure(family, images, limit)
    click.echo(json.dumps(found, indent=2) if as_json else table(family, found))


def table(family: str, found: Fidelity) -> str:
    """One line for each engine, a column for each number of SHOWN."""
    lines = [f"{family:<28}" + "".join(f"{name:>18}" for name in SHOWN)]
    for engine, one in found.items():
        lines.append(f"{engine:<28}" + "".join(f"{one[name]:>18.5f}" for name in SHOWN))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
