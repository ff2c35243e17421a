"""Comparing the engines of a model folder with the model, on the device that will run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import ASSETS, MANIFEST, Bundle
from sam_edge.bundle.manifest import EngineSpec, dump
from sam_edge.errors import BundleError, EngineError, InputError
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.gate import Reference, measure
from sam_edge.fidelity.result import FidelityResult
from sam_edge.progress import Progress, part_of, silent
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.loaders import GraphLoader, find_graph_loader
from sam_edge.storage.files import write_bytes

from .staging import ShapeCheckedLoader, commit, staging_folder
from .trusted import ITSELF, ONNX, PYTORCH, Expected, graph_references, pytorch_references, trusted_runtime


@dataclass(frozen=True)
class Verdict:
    """What was found about one engine."""

    engine: EngineSpec
    found: FidelityResult
    against: str = ONNX
    """What it was compared with: the FP32 graphs in TRUSTED, PyTorch or its answers that the folder brings
    along, or, for TRUSTED in a folder without them, itself."""
    violations: Sequence[str] = ()
    """Which limits it breaks, in words."""
    repaired: bool = False
    """Whether its graphs failed and were made again."""
    raised: Sequence[str] = ()
    """GRAPH/NODE that were raised to float32 then, beyond what the ranges ask for."""
    departs_at: str | None = None
    """GRAPH/NODE (OPERATOR) where a failing fp32 engine first gives other values."""
    note: str | None = None
    """What the user has to know of the comparison."""

    @property
    def passed(self) -> bool:
        return self.found.passed is not False

    @property
    def verified(self) -> bool:
        """Whether there was anything but itself to compare it with."""
        return self.against != ITSELF


def engines_of(bundle: Bundle, runtimes: Sequence[str], precisions: Sequence[str]) -> list[EngineSpec]:
    """The engines that these runtimes (none: the best one here) can open of a folder.

    Raises:
        InputError: unknown runtime, or a precision that the folder has for none of them.
        MissingExtraError, EngineError: a runtime's library is not here, or does not start.
    """
    found: list[EngineSpec] = []
    for runtime in runtimes or (None,):
        full = find_runtime(runtime).name
        found.append(EngineSpec(full))
        half = EngineSpec(full, "fp16")
        if half.graphs_key in bundle.manifest.engines:
            found.append(half)
    found = [engine for engine in dict.fromkeys(found) if not precisions or engine.precision in precisions]
    if not found:
        where = ", ".join(runtimes) or "this machine"
        raise InputError(
            f"{bundle.path} has no {' or '.join(precisions)} engine for {where}",
            path=bundle.path,
            hint="export it with --target and --precision",
        )
    return found


def verify(
    bundle: Bundle,
    engines: Sequence[EngineSpec],
    images: Sequence[NDArray[np.uint8]],
    *,
    checkpoint: Path | None = None,
    repair: bool = True,
    max_tries: int | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Verdict], Bundle]:
    """Measure engines on images, and repair the fp16 ones that fail.

    Args:
        bundle: the model folder.
        engines: of this machine.
        images: (H, W, 3) uint8 RGB each.
        checkpoint: what the folder was exported from: PyTorch itself answers then, to every image. None: the
            FP32 graphs do, after they were compared with PyTorch's answers that the folder brings along.
        repair: whether fp16 engines that fail are repaired.
        max_tries: how many sets of layers a repair may try; None: as many as its search needs at most.
        threads: cores an engine may use; None: all.
        progress: shows which engine is run, tried or built.

    Returns:
        A verdict an engine, and the bundle with what was found; nothing of it is stored yet. Repaired graphs
        are in the bundle's folder already.

    Raises:
        InputError, CheckpointError: not the checkpoint that the folder was exported from.
        MissingExtraError: a checkpoint is given, and torch is not installed.
    """
    with staging_folder(bundle) as place:
        work = place
        # First, as a device that is missing is found out here.
        loaders = [find_graph_loader(engine.runtime, bundle.manifest, progress) for engine in engines]
        share = 1 / (1 + len(engines))
        if checkpoint is not None:
            references = pytorch_references(bundle, images, checkpoint, part_of(progress, 0.0, share))
        else:
            references = graph_references(bundle, work, images, threads, part_of(progress, 0.0, share))
        verdicts = []
        for index, (engine, loader) in enumerate(zip(engines, loaders, strict=True), 1):
            progress(f"running {engine}", index * share)
            shown = part_of(progress, index * share, (index + 1) * share, f"running {engine}")
            reference = references.of(engine)
            frames = Frames(loader)
            checked = ShapeCheckedLoader(frames, bundle, engine)
            with Segmenter(work, checked, engine=engine, threads=threads) as segmenter:
                found = measure(segmenter, reference.answers, shown, frames)
            repairing = _Repair(max_tries, part_of(progress, (index + 1) * share, (index + 1) * share))
            verdict, work = _judge(work, engine, loader, reference, found, repairing if repair else None)
            verdicts.append(verdict)
        repaired = [verdict.engine for verdict in verdicts if verdict.repaired]
        if not repaired:
            return verdicts, Bundle(bundle.path, work.manifest)
        return verdicts, commit(bundle, work, repaired)


def store(bundle: Bundle) -> bool:
    """Write the bundle's manifest into its folder; False for the models that ship inside the package."""
    if ASSETS in bundle.path.resolve().parents:
        return False
    write_bytes(bundle.path / MANIFEST, dump(bundle.manifest))
    return True


@dataclass(frozen=True)
class _Repair:
    """How a failing engine may be repaired."""

    max_tries: int | None
    progress: Progress


def _judge(
    work: Bundle,
    engine: EngineSpec,
    loader: GraphLoader,
    reference: Expected,
    found: FidelityResult,
    repair: _Repair | None,
) -> tuple[Verdict, Bundle]:
    """Judge what was measured of an engine, and find or repair what is wrong with it."""
    limits = reference.limits(engine)
    raised: Sequence[str] = ()
    departs = None
    is_repaired = False
    note = reference.note
    # Both need onnx, which a device that only runs engines may not have, and more than the self test's answers.
    if found.violations(limits) and repair and not reference.is_self_test and find_spec("onnx"):
        if engine.precision == "fp32":
            if _can_show(work, engine, reference):
                repair.progress(f"finding where {engine} departs")
                departs = _first_departure(work, loader, reference.answers[0])
        else:
            from .repair import NotRepairedError

            try:
                work, found, raised = _repaired(work, engine, reference.answers, repair)
                is_repaired = True
            except NotRepairedError as error:
                note = f"not repaired: {error.tried}"
    found = found.judged(limits, against_onnx=reference.against != PYTORCH)
    violations = found.violations(limits)
    # Comparing an engine with itself proves nothing: keep the earlier verdict.
    if violations or reference.against != ITSELF:
        fidelity = {**work.manifest.fidelity, engine.key: found.to_document()}
        work = Bundle(work.path, replace(work.manifest, fidelity=fidelity))
    verdict = Verdict(engine, found, reference.against, violations, is_repaired, raised, departs, note)
    return verdict, work


def _can_show(work: Bundle, engine: EngineSpec, reference: Expected) -> bool:
    """Whether TRUSTED can show where `engine` departs: it is another, and right on the first image."""
    loader = trusted_runtime()
    name = loader.name
    if engine == EngineSpec(name):
        return False
    if reference.against == ONNX:
        return True
    with Segmenter(work, loader) as segmenter:
        return not measure(segmenter, reference.answers[:1]).violations(reference.limits(EngineSpec(name)))


def _first_departure(work: Bundle, loader: GraphLoader, expected: Reference) -> str | None:
    """GRAPH/NODE (OPERATOR) where an FP32 engine first gives other values than the trusted one."""
    from .engines import feeds_of
    from .locate import first_departure

    with loader.trial() as trial:
        for name, feeds in feeds_of(work, [expected.image]).items():
            if feeds:
                found = first_departure(work.graph(name), trial, trusted_runtime(), feeds[0], work.path)
                if found:
                    return f"{name}/{found}"
    return None


def _repaired(
    work: Bundle, engine: EngineSpec, expected: Sequence[Reference], how: _Repair
) -> tuple[Bundle, FidelityResult, Sequence[str]]:
    """The engine with layers raised to float32, so that it passes.

    Raises:
        NotRepairedError: no such layers were found.
        EngineError: the engine does not run, or its graphs cannot be read.
    """
    from .engines import find_halves, with_engine
    from .repair import repair

    how.progress(f"finding what {engine} can hold")
    halved = find_halves(work, [one.image for one in expected])
    try:
        halved, found = repair(halved, work, engine, expected, how.progress, how.max_tries)
    except (EngineError, BundleError) as error:
        raise EngineError(
            f"{engine} fails, and it cannot be repaired here: {error}; --no-repair only measures it"
        ) from error
    work = with_engine(work, engine, halved.write(engine, work.path))
    raised = {**work.manifest.raised, engine.graphs_key: halved.raised}
    return Bundle(work.path, replace(work.manifest, raised=raised)), found, halved.raised
