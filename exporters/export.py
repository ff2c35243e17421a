"""From a PyTorch checkpoint to a model folder that any runtime opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle, check_target, write_bundle
from sam_edge.bundle.manifest import Graph, Manifest, Precision
from sam_edge.bundle.reading import check_name
from sam_edge.errors import FidelityError, OutputError
from sam_edge.exporters.half.weights import halve_weights
from sam_edge.exporters.interop.interfaces import check_interface, make_interface
from sam_edge.fidelity.images import read_images
from sam_edge.fidelity.result import LIMITS
from sam_edge.fidelity.self_test import write_self_test
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.families import find_family
from sam_edge.progress import Progress, part_of, silent
from sam_edge.storage.files import sha256
from sam_edge.storage.folders import temporary_folder

from .gating import lint_sources, with_chosen, with_halves, with_sources
from .onnx_graph import describe_graph, write_graph
from .pytorch_answers import float64_mask_iou, most_points, references, self_test_reference
from .rectangular import COST_IMAGES, as_exportable, measure_cost, shaped

TOOLS = ("sam-edge", "torch", "onnx", "onnxscript", "onnxruntime")

IMAGES = {"fp32": 1, "fp16": 3}
"""What engines are checked with, at most: an encoder may take half a minute for one. The FP32 graphs differ by
the order of sums, which any image shows; float16 is as good as the ranges that were seen."""


@dataclass(frozen=True)
class ExportSettings:
    """What is made beside the FP32 graphs, and how it is checked."""

    targets: tuple[str, ...] = ("onnxruntime",)
    """Runtimes that engines are made for."""
    precisions: tuple[Precision, ...] = ("fp32",)
    images: Path | None = None
    """Folder of images to calibrate and to check with; None: generated ones."""
    limit: int | None = None
    """How many of them to check with, at most; float16's ranges are found on as many others, where there are
    enough. None: as `IMAGES` says."""
    input_wh: tuple[int, int] | None = None
    """Width and height of a rectangular encoder input, in pixels; None: the family's own."""
    max_points: int | None = None
    """How many points beside a box the decoder for many takes; None: the family's own number."""
    max_tries: int | None = None
    """How many sets of layers may be tried to repair an fp16 engine; None: as many as the search needs."""
    interface: str | None = None
    """`official` or `samexporter`: also graphs with the inputs and outputs of theirs."""


def export(
    checkpoint: str | Path,
    out: str | Path,
    family: str | None = None,
    name: str | None = None,
    progress: Progress = silent,
    settings: ExportSettings | None = None,
    warnings: list[str] | None = None,
) -> Path:
    """Write a checkpoint as a model folder, after checking that it computes what PyTorch computes.

    Args:
        checkpoint: `.pth`, `.pt` or `.safetensors` with the family's public keys.
        out: the folder to make; an older model there is replaced, nothing else is.
        family: one of `sam_edge.modeling.families.FAMILIES`; None guesses it from the keys.
        name: what the model is called; None takes the folder's name.
        progress: shows every step.
        settings: targets, precisions, input size and interface; None: FP32 for onnxruntime.
        warnings: gets a line about everything that may cost accuracy or speed on a device.

    Returns:
        The folder.

    Raises:
        InputError: no such family, or an input size or interface that it cannot have.
        CheckpointError: the file does not hold weights, or not of that family.
        FidelityError: an exported graph differs from the model, or is made for TensorRT and holds what that
            refuses; nothing was written.
        OutputError: the folder holds something else or cannot be written.
    """
    settings = settings or ExportSettings()
    out = Path(out)
    warnings = [] if warnings is None else warnings
    name = name or out.resolve().name
    _check(out, family, name, settings)
    ranging, images = _images(settings)
    progress("reading weights", 0.0)
    # Before the first folder is made.
    family_name, model = load_model(checkpoint, family)
    with _folder_beside(out) as folder:
        own = find_family(family_name)
        spec = shaped(family_name, own, settings.input_wh)
        if settings.interface:
            check_interface(settings.interface, model, spec)
        exportable = as_exportable(model, spec)
        sources = exportable.graphs(settings.max_points)
        progress("computing the reference", 0.05)
        expected = references(exportable, spec, images, most_points(sources))
        self_test = self_test_reference(exportable, spec, most_points(sources))
        write_self_test(self_test, folder)
        cost = {}
        if spec.input_size != own.input_size:
            progress("measuring what the input's sides cost", 0.15)
            shown = read_images(settings.images, COST_IMAGES) if settings.images else None
            cost = measure_cost(exportable, own, spec, shown)
        graphs = _write_graphs(sources, folder, part_of(progress, 0.2, 0.6), half_weights=spec.half_weights)
        interfaces = {}
        if settings.interface:
            progress(f"exporting for {settings.interface}", 0.55)
            interfaces[settings.interface] = make_interface(settings.interface, model, spec, folder)
        # The engines need the room that the model takes.
        del model, exportable, sources
        manifest = Manifest(
            name=name,
            family=family_name,
            checkpoint_sha256=sha256(checkpoint),
            licence=spec.licence,
            input_size=spec.input_size,
            preprocess=spec.preprocess,
            graphs=graphs,
            files={file.name: sha256(file) for file in folder.iterdir()},
            tools={tool: version(tool) for tool in TOOLS},
            interfaces=interfaces,
            input_cost=cost,
        )
        bundle = Bundle(folder, manifest)
        if "fp32" in settings.precisions:
            warnings += lint_sources(bundle, settings.targets)
        every = [self_test, *expected]
        with _blaming(lambda: float64_mask_iou(checkpoint, family_name, spec, expected[0])):
            bundle = with_sources(bundle, settings.targets, every, part_of(progress, 0.6, 0.65))
        if "fp16" in settings.precisions:
            part = part_of(progress, 0.65, 0.9)
            tries = settings.max_tries
            bundle = with_halves(bundle, settings.targets, ranging, expected, part, warnings, tries)
        bundle = with_chosen(bundle, every, part_of(progress, 0.9, 0.95), warnings)
        progress("writing", 0.95)
        write_bundle(out, bundle.manifest, folder)
    progress("done", 1.0)
    return out


def _check(out: Path, family: str | None, name: str, settings: ExportSettings) -> None:
    """Refuse what can be refused before the weights are read."""
    check_target(out)
    check_name(name)
    if family is not None:
        shaped(family, find_family(family), settings.input_wh)


def _write_graphs(
    sources: Sequence[GraphSource], folder: Path, progress: Progress, *, half_weights: bool
) -> dict[str, Graph]:
    """Write the FP32 graphs; name -> graph."""
    graphs = {}
    for index, source in enumerate(sources):
        progress(f"exporting {source.name}", index / len(sources))
        path = write_graph(source, folder)
        if half_weights:
            halve_weights(path)
        graphs[source.name] = describe_graph(path, source.role)
    return graphs


def _images(settings: ExportSettings) -> tuple[Sequence[NDArray[np.uint8]], Sequence[NDArray[np.uint8]]]:
    """What ranges are found on, and what engines are checked with: others, if there are two or more."""
    count = settings.limit or max(IMAGES[precision] for precision in settings.precisions)
    if "fp16" not in settings.precisions:
        return [], read_images(settings.images, count)
    shown = read_images(settings.images, 2 * count)
    return shown[1::2] or shown, shown[::2]


@contextmanager
def _blaming(agreement: Callable[[], float]) -> Iterator[None]:
    """Add to the error of an engine that fails in float32 whether PyTorch's own float32 is any better."""
    try:
        yield
    except FidelityError as error:
        mask_iou = agreement()
        if mask_iou >= LIMITS["fp32"].mask_iou_mean:
            raise
        raise FidelityError(
            f"{error}; these weights are too steep for float32: PyTorch's own masks agree with those of its "
            f"float64 to a mean IoU of {mask_iou:.4f} only"
        ) from error


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `out`, so that finished files are moved and not copied."""
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(temporary_folder(out.parent, f".{out.name}-export-"))
        except OSError as error:
            raise OutputError(
                f"cannot write {out}: {error.strerror}", path=out, hint="choose another --out"
            ) from error
        yield folder
