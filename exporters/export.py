"""From a PyTorch checkpoint to a model folder that any runtime opens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle, check_target, write_bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest, Precision
from sam_edge.errors import FidelityError, OutputError
from sam_edge.exporters.half.weights import halve_weights
from sam_edge.exporters.interop.interfaces import check_interface, make_interface
from sam_edge.exporters.lint.tensorrt import check_engine
from sam_edge.fidelity.gate import LIMITS, Reference, check, result
from sam_edge.fidelity.images import read_images
from sam_edge.fidelity.self_test import write_self_test
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.families import find_family
from sam_edge.storage.files import sha256

from .engines import (
    EMULATION,
    PROCESSOR_OF,
    TRUSTED,
    find_halves,
    is_here,
    measure_engine,
    repair,
    with_engine,
)
from .onnx_graph import describe_graph, write_graph
from .rectangular import COST_IMAGES, as_exportable, measure_cost, shaped
from .reference import float64_mask_iou, most_points, references, self_test_reference

TOOLS = ("sam-edge", "torch", "onnx", "onnxscript", "onnxruntime")

IMAGES = {"fp32": 1, "fp16": 3}
"""What engines are checked with, at most: an encoder may take half a minute for one. The FP32 graphs differ by
the order of sums, which any image shows; float16 is as good as the ranges that were seen."""
Progress = Callable[[str, float], None]
"""Called with what begins now, and the share of the work that is done, 0..1."""
Warn = Callable[[str], None]
"""Called with a line about something that may cost accuracy or speed on a device."""
LINTED = "tensorrt"
"""Builds its engines on the device, where nobody would find out what it refuses before a model is there."""


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
    """Width and height of a rectangular encoder input; None: the family's own."""
    interface: str | None = None
    """`official` or `samexporter`: also graphs with the inputs and outputs of theirs."""


def export(
    checkpoint: str | Path,
    out: str | Path,
    family: str | None = None,
    name: str | None = None,
    progress: Progress = lambda step, done: None,
    settings: ExportSettings | None = None,
    warn: Warn = lambda text: None,
) -> Path:
    """Write a checkpoint as a model folder, after checking that it computes what PyTorch computes.

    Args:
        checkpoint: `.pth`, `.pt` or `.safetensors` with the family's public keys.
        out: the folder to make; an older model there is replaced, nothing else is.
        family: one of `sam_edge.modeling.families.FAMILIES`; None guesses it from the keys.
        name: what the model is called; None takes the folder's name.
        progress: told of every step.
        settings: targets, precisions, input size and interface; None: FP32 for onnxruntime.
        warn: told what TensorRT may not like about the graphs made for it.

    Returns:
        The folder.

    Raises:
        InputError: no such family, or an input size or interface that it cannot have.
        CheckpointError: the file is no weights, or not of that family.
        FidelityError: an exported graph differs from the model, or is made for TensorRT and holds what that
            refuses; nothing was written.
        OutputError: the folder holds something else or cannot be written.
    """
    settings = settings or ExportSettings()
    out = Path(out)
    check_target(out)
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
        sources = exportable.graphs()
        progress("computing the reference", 0.05)
        expected = references(exportable, spec, images, most_points(sources))
        self_test = self_test_reference(exportable, spec, most_points(sources))
        write_self_test(self_test, folder)
        cost = {}
        if spec.input_size != own.input_size:
            progress("measuring what the input's sides cost", 0.15)
            shown = read_images(settings.images, COST_IMAGES) if settings.images else None
            cost = measure_cost(exportable, own, spec, shown)
        graphs = {}
        for index, source in enumerate(sources):
            progress(f"exporting {source.name}", 0.2 + 0.4 * index / len(sources))
            path = write_graph(source, folder)
            if spec.half_weights:
                halve_weights(path)
            graphs[source.name] = describe_graph(path, source.role)
        interfaces = {}
        if settings.interface:
            progress(f"exporting for {settings.interface}", 0.55)
            interfaces[settings.interface] = make_interface(settings.interface, model, spec, folder)
        # The engines need the room that the model takes.
        del model, exportable, sources, source
        manifest = Manifest(
            name=name or out.resolve().name,
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
        if "fp32" in settings.precisions and LINTED in settings.targets:
            _lint(bundle, EngineSpec(LINTED), warn)
        for engine in _engines(settings, "fp32"):
            progress(f"comparing {engine} with PyTorch", 0.6)
            found = measure_engine(bundle, engine, [self_test, *expected])
            with _blaming(lambda: float64_mask_iou(checkpoint, family_name, spec, expected[0])):
                bundle = _accept(bundle, engine, found)
        if "fp16" in settings.precisions:
            bundle = _with_halves(bundle, settings, ranging, expected, progress, warn)
        progress("writing", 0.95)
        write_bundle(out, bundle.manifest, folder)
    progress("done", 1.0)
    return out


def _images(settings: ExportSettings) -> tuple[Sequence[NDArray[np.uint8]], Sequence[NDArray[np.uint8]]]:
    """What ranges are found on, and what engines are checked with: others, if there are two or more."""
    count = settings.limit or max(IMAGES[precision] for precision in settings.precisions)
    if "fp16" not in settings.precisions:
        return [], read_images(settings.images, count)
    shown = read_images(settings.images, 2 * count)
    return shown[1::2] or shown, shown[::2]


def _engines(settings: ExportSettings, precision: Precision) -> list[EngineSpec]:
    """The engines that this machine can check; the FP32 graphs are always checked in one of them."""
    runtimes = [PROCESSOR_OF.get(target, target) for target in settings.targets if is_here(target)]
    if precision == "fp32" and TRUSTED not in runtimes:
        runtimes.insert(0, TRUSTED)
    return [EngineSpec(runtime, precision) for runtime in runtimes]


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


def _with_halves(
    bundle: Bundle,
    settings: ExportSettings,
    ranging: Sequence[NDArray[np.uint8]],
    expected: Sequence[Reference],
    progress: Progress,
    warn: Warn,
) -> Bundle:
    """Add an fp16 engine for every target; those of this machine are checked in it, all in the emulation."""

    def say(step: str) -> None:
        progress(step, 0.75)

    progress("finding what float16 can hold", 0.65)
    halved = find_halves(bundle, ranging)
    progress("comparing emulated fp16 with PyTorch", 0.75)
    halved, found = repair(halved, bundle, EMULATION, expected, say)
    for name in halved.write(EMULATION, bundle.path).values():
        for file in bundle.path.glob(f"{name}*"):
            file.unlink()
    bundle = _accept(bundle, EMULATION, found)
    here = _engines(settings, "fp16")
    for engine in (EngineSpec(PROCESSOR_OF.get(target, target), "fp16") for target in settings.targets):
        own = halved
        if engine in here:
            progress(f"comparing {engine} with PyTorch", 0.85)
            own, found = repair(halved, bundle, engine, expected, say)
        bundle = with_engine(bundle, engine, own.write(engine, bundle.path))
        if engine.runtime == LINTED:
            _lint(bundle, engine, warn)
        if engine in here:
            bundle = _accept(bundle, engine, found)
        if own.raised:
            raised = {**bundle.manifest.raised, engine.graphs_key: own.raised}
            bundle = Bundle(bundle.path, replace(bundle.manifest, raised=raised))
    return bundle


def _lint(bundle: Bundle, engine: EngineSpec, warn: Warn) -> None:
    for text in check_engine(bundle, engine):
        warn(text)


def _accept(bundle: Bundle, engine: EngineSpec, found: dict[str, float]) -> Bundle:
    """The bundle with what was measured; FidelityError if that is too far from the model."""
    check(found, engine)
    fidelity = {**bundle.manifest.fidelity, engine.key: result(found, engine.precision, against_onnx=False)}
    return Bundle(bundle.path, replace(bundle.manifest, fidelity=fidelity))


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `out`, so that finished files are moved and not copied."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-export-")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}", hint="choose another --out") from error
    with folder as name:
        yield Path(name)
