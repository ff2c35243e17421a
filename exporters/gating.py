"""The engines of a folder that is being exported: each is compared with PyTorch, and noted or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Precision
from sam_edge.errors import EngineError
from sam_edge.exporters.lint.tensorrt import check_engine
from sam_edge.fidelity.gate import Reference, check
from sam_edge.fidelity.result import LIMITS, FidelityResult
from sam_edge.progress import Progress, part_of

from .engines import EMULATION, PROCESSOR_OF, chosen_here, find_halves, is_here, measure_engine, with_engine
from .repair import repair
from .trusted import TRUSTED

LINTED = "tensorrt"
"""Builds its engines on the device: what it would refuse should be found before the model is there."""


def lint_sources(bundle: Bundle, targets: Sequence[str]) -> list[str]:
    """What TensorRT may not like in the FP32 graphs, if that is a target.

    Raises:
        FidelityError: they hold what it refuses.
    """
    return check_engine(bundle, EngineSpec(LINTED)) if LINTED in targets else []


def with_sources(
    bundle: Bundle, targets: Sequence[str], expected: Sequence[Reference], progress: Progress
) -> Bundle:
    """The bundle with verdicts on the FP32 graphs, in every engine of the targets that is here.

    Raises:
        FidelityError: one of them differs from the model.
    """
    for engine in _engines(targets, "fp32"):
        step = f"comparing {engine} with PyTorch"
        progress(step, 0.0)
        found = measure_engine(bundle, engine, expected, part_of(progress, 0.0, 1.0, step))
        bundle = _accept(bundle, engine, found)
    return bundle


def with_halves(
    bundle: Bundle,
    targets: Sequence[str],
    ranging: Sequence[NDArray[np.uint8]],
    expected: Sequence[Reference],
    progress: Progress,
    warnings: list[str],
    max_tries: int | None = None,
) -> Bundle:
    """The bundle with an fp16 engine for every target, compared in the emulation, and here if it runs here.

    Args:
        bundle: with the FP32 graphs.
        targets: runtimes.
        ranging: images (H, W, 3) that ranges are found on.
        expected: PyTorch's answers.
        progress: shows every step.
        warnings: gets what TensorRT may not like.
        max_tries: how many sets of layers may be tried to repair an engine; None: as many as the search needs.

    Raises:
        FidelityError: an engine differs from the model and cannot be repaired.
    """
    progress("finding what float16 can hold", 0.0)
    halved = find_halves(bundle, ranging)
    progress("comparing emulated fp16 with PyTorch", 0.4)
    halved, found = repair(halved, bundle, EMULATION, expected, part_of(progress, 0.4, 0.8), max_tries)
    for name in halved.write(EMULATION, bundle.path).values():
        for file in bundle.path.glob(f"{name}*"):
            file.unlink()
    bundle = _accept(bundle, EMULATION, found)
    here = _engines(targets, "fp16")
    for engine in (EngineSpec(PROCESSOR_OF.get(target, target), "fp16") for target in targets):
        own = halved
        if engine in here:
            progress(f"comparing {engine} with PyTorch", 0.8)
            own, found = repair(halved, bundle, engine, expected, part_of(progress, 0.8, 1.0), max_tries)
        bundle = with_engine(bundle, engine, own.write(engine, bundle.path))
        if engine.runtime == LINTED:
            warnings += check_engine(bundle, engine)
        if engine in here:
            bundle = _accept(bundle, engine, found)
        if own.raised:
            raised = {**bundle.manifest.raised, engine.graphs_key: own.raised}
            bundle = Bundle(bundle.path, replace(bundle.manifest, raised=raised))
    return bundle


def with_chosen(
    bundle: Bundle, expected: Sequence[Reference], progress: Progress, warnings: list[str]
) -> Bundle:
    """The bundle with a verdict on the engine that `load` chooses on this machine.

    Nobody asked for that one: if it fails, the model is written all the same, and says so.
    """
    runtime = chosen_here()
    if runtime is None:
        return bundle
    half = EngineSpec(runtime, "fp16")
    engines = [half] if half.graphs_key in bundle.manifest.engines else []
    for engine in (*engines, EngineSpec(runtime)):
        if engine.key not in bundle.manifest.fidelity:
            step = f"comparing {engine}, which is the default here, with PyTorch"
            progress(step, 0.0)
            try:
                found = measure_engine(bundle, engine, expected, part_of(progress, 0.0, 1.0, step))
            except EngineError as error:
                warnings.append(f"note: {engine}, the default here, could not be compared: {error}")
                return bundle
            bundle = _noted(bundle, engine, found)
            if violations := found.violations(LIMITS[engine.precision]):
                warnings.append(
                    f"warning: {engine}, the default here, differs from the model: {', '.join(violations)}; "
                    "choose another --runtime on this machine"
                )
                continue
        return bundle
    return bundle


def _engines(targets: Sequence[str], precision: Precision) -> list[EngineSpec]:
    """The engines that this machine can check; the FP32 graphs are always checked in one of them."""
    runtimes = [PROCESSOR_OF.get(target, target) for target in targets if is_here(target)]
    if precision == "fp32" and TRUSTED not in runtimes:
        runtimes.insert(0, TRUSTED)
    return [EngineSpec(runtime, precision) for runtime in runtimes]


def _noted(bundle: Bundle, engine: EngineSpec, found: FidelityResult) -> Bundle:
    """The bundle with what was measured against PyTorch."""
    document = found.judged(LIMITS[engine.precision], against_onnx=False).to_document()
    fidelity = {**bundle.manifest.fidelity, engine.key: document}
    return Bundle(bundle.path, replace(bundle.manifest, fidelity=fidelity))


def _accept(bundle: Bundle, engine: EngineSpec, found: FidelityResult) -> Bundle:
    """The bundle with what was measured; FidelityError if that is too far from the model."""
    check(found, engine)
    return _noted(bundle, engine, found)
