"""How far our models are from what the reference implementations computed, prompt by prompt.

    python -m sam_edge.benchmarks.quality.upstream ../shared/fixtures [--family sam_vit_b]

Three computations are compared with the stored outputs: our PyTorch model in float32, its exported graphs in
onnxruntime, and our PyTorch model in float64, which shows the rounding error of the reference's own float32.
Needs pip install 'sam-edge[cpu,export]'.
"""

from __future__ import annotations

import runpy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam_edge.benchmarks.options import Benchmark
from sam_edge.geometry import View
from sam_edge.imaging.image import encoder_input
from sam_edge.imaging.overlap import mask_iou
from sam_edge.lazy import import_object
from sam_edge.loading import load as load_segmenter
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt


def compare(fixtures: Path, family: str) -> Iterator[str]:
    """One line for each prompt and computation: largest differences of logits and predicted IoU, mask IoU."""
    import torch

    weights = runpy.run_path(str(fixtures / "fixture_weights.py"))["state_dict"](
        fixtures / f"{family}.manifest.json"
    )
    with np.load(fixtures / f"{family}.npz") as file:
        # Each file holds one image, and its size begins every name.
        expected = {name.partition("/")[2]: file[name] for name in file.files}
    spec = import_object("sam_edge.modeling.families:FAMILIES")[family]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "weights.pth"
        torch.save({name: torch.tensor(value) for name, value in weights.items()}, checkpoint)
        bundle = import_object("sam_edge.exporters.export:export")(checkpoint, Path(folder) / "model", family)
        model = import_object("sam_edge.modeling.checkpoint:load_model")(checkpoint, family)[1]
        with load_segmenter(bundle, runtime="onnxruntime") as segmenter:
            embedding = segmenter.encode(expected["image"])
            image = encoder_input(expected["image"], embedding.view, spec.preprocess)
            features = {"onnxruntime": embedding}
            for dtype in (torch.float32, torch.float64):
                exportable = spec.exportable(model.to(dtype))
                with torch.inference_mode():
                    features[str(dtype)] = exportable.encode(torch.from_numpy(image).to(dtype))
                for where, prompt in _cases(expected):
                    multimask = where.endswith("1")
                    masks = _torch_masks(exportable, features[str(dtype)], prompt, embedding.view, multimask)
                    yield _line(f"{dtype}", where, masks, expected)
            for where, prompt in _cases(expected):
                masks = segmenter.decode(embedding, prompt, multimask=where.endswith("1"))
                yield _line("onnxruntime", where, masks, expected)


def _cases(expected: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, Prompt]]:
    answers = [key.removesuffix("/iou") for key in expected if key.endswith("/iou")]
    for where in answers:
        name = where.partition("/")[0]
        points = expected.get(f"{name}/in/point_coords", np.empty((0, 2)))
        labels = expected.get(f"{name}/in/point_labels")
        box = expected.get(f"{name}/in/box")
        yield where, Prompt.points(points, labels, box=box, mask_logits=expected.get(f"{name}/in/mask_input"))


def _torch_masks(model: Any, features: Any, prompt: Prompt, view: View, multimask: bool) -> Masks:
    import torch

    dtype = features["embedding"].dtype
    coords, labels = (torch.from_numpy(slots).to(dtype) for slots in prompt.slots(view, prompt.tokens))
    mask = None if prompt.mask_logits is None else torch.from_numpy(prompt.mask_logits)[None, None].to(dtype)
    with torch.inference_mode():
        logits, iou = model.decode(features, coords, labels, mask)
    picked = slice(1, None) if multimask else slice(0, 1)
    return Masks(logits[0, picked].float().numpy(), iou[0, picked].float().numpy(), view)


def _line(who: str, where: str, masks: Masks, expected: Mapping[str, NDArray[Any]]) -> str:
    if f"{where}/logits" in expected:
        difference = np.abs(masks.logits - expected[f"{where}/logits"].astype(np.float32))
    else:
        # EfficientSAM's own code gives the logits of the full size only; every fourth pixel was kept.
        quarter = expected[f"{where}/logits_quarter"].astype(np.float32)
        difference = np.abs(masks.frame_logits[:, ::4, ::4] - quarter)
    iou = np.abs(masks.predicted_iou - expected[f"{where}/iou"]).max()
    width = masks.view.frame_wh[0]
    bits = np.unpackbits(expected[f"{where}/mask_bits"], axis=-1, count=width).astype(bool)
    return (
        f"{who:<14}{where:<28}logits {difference.max():.4f}, 99 % within {np.quantile(difference, 0.99):.4f}; "
        f"IoU {iou:.4f}; masks {mask_iou(masks.binary, bits):.5f}"
    )


@click.command(cls=Benchmark)
@click.argument("fixtures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--family", default="mobile_sam", show_default=True)
def main(fixtures: Path, family: str) -> None:
    """Compare a family with what its reference implementation computed, as stored in the folder FIXTURES.

    \b
    Examples:
      python -m sam_edge.benchmarks.quality.upstream ../shared/fixtures
      python -m sam_edge.benchmarks.quality.upstream ../shared/fixtures --family sam_vit_b
    """
    for line in compare(fixtures, family):
        click.echo(line)


if __name__ == "__main__":
    main()
