"""Holding the engines of a model folder against the model, on the device that will run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import ASSETS, MANIFEST, Bundle
from sam_edge.bundle.manifest import EngineSpec, dump
from sam_edge.errors import (
    BundleError,
    EngineError,
    FidelityError,
    InputError,
    MissingExtraError,
)
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.gate import LIMITS, Limits, Reference, Steps, ask, find_violations, measure, result
from sam_edge.fidelity.self_test import read_self_test, self_test_limits
from sam_edge.lazy import import_object
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.backends import Runtime, find_runtime
from sam_edge.sessions.choice import passed
from sam_edge.sessions.loaders import GraphLoader, find_graph_loader
from sam_edge.storage.files import write_bytes

from .staging import ShapeCheckedLoader, commit, staging_folder

Say = Callable[[str], None]

TRUSTED = "onnxruntime:cpu"
"""Runs the FP32 graphs that the others are held against, after it was held against PyTorch's own answers."""
TRUSTED_ENGINE = EngineSpec(TRUSTED)
PYTORCH, ONNX, ITSELF = "PyTorch", "FP32 ONNX", "itself"
FROM_CHECKPOINT = "sam_edge.exporters.reference:from_checkpoint"
UNKNOWN = "the folder has no answers of PyTorch to hold it against: export the model again with this version"


@dataclass(frozen=True)
class Verdict:
    """What was found about one engine."""

    engine: EngineSpec
    found: Mapping[str, float]
    against: str = ONNX
    """What it was compared with: the FP32 graphs in TRUSTED, PyTorch or its answers that the folder brings
    along, or, for TRUSTED in a folder without them, itself."""
    violations: Sequence[str] = ()
    """Which limits it breaks, in words."""
    repaired: bool = False
    """Whether its graphs were made anew because they failed."""
    raised: Sequence[str] = ()
    """GRAPH/NODE that were raised to float32 then, beyond what the ranges ask for."""
    departs_at: str | None = None
    """GRAPH/NODE (OPERATOR) where a failing fp32 engine first gives other values."""
    note: str | None = None
    """What the user has to know of the comparison."""

    @property
    def passed(self) -> bool:
        return passed(self.found)

    @property
    def verified(self) -> bool:
        """Whether there was anything but itself to hold it against."""
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
    threads: int | None = None,
    say: Say = lambda step: None,
    each: Steps = lambda: None,
) -> tuple[list[Verdict], Bundle]:
    """Measure engines on images, and mend the fp16 ones that fail.

    Args:
        checkpoint: what the folder was exported from: PyTorch itself answers then, to every image. None: the
            FP32 graphs do, after they were held against PyTorch's answers that the folder brings along.
        say: told what begins, is being tried, or built.
        each: called after every image, once for the FP32 graphs and once an engine.

    Returns:
        A verdict an engine, and the bundle with what was found; nothing of it is stored yet. Mended graphs
        lie in the bundle's folder, if that is a new one.

    Raises:
        InputError, CheckpointError: not the checkpoint that the folder was exported from.
        MissingExtraError: a checkpoint is given, and torch is not installed.
    """
    with staging_folder(bundle) as place:
        work = place
        # Without a device there is nothing to wait for.
        openers = [
            find_graph_loader(engine.runtime, bundle.manifest, lambda step, done=None: say(step))
            for engine in engines
        ]
        if checkpoint is not None:
            say("running PyTorch")
            asked = import_object(FROM_CHECKPOINT)(checkpoint, bundle.manifest, images, each)
            trusted = others = _Reference(asked, PYTORCH)
        else:
            trusted, others = _references(bundle, work, images, threads, say, each)
        verdicts = []
        for engine, loader in zip(engines, openers, strict=True):
            say(f"running {engine}")
            reference = trusted if engine == TRUSTED_ENGINE else others
            frames = Frames(loader)
            fitting = ShapeCheckedLoader(frames, bundle, engine)
            with Segmenter(work, fitting, engine=engine, threads=threads) as segmenter:
                found = measure(segmenter, reference.expected, each, frames)
            for _ in images[len(reference.expected) :]:
                each()
            verdict, work = _judge(work, engine, loader, reference, found, repair, say)
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


@dataclass(frozen=True, eq=False)
class _Reference:
    """What engines are held against."""

    expected: Sequence[Reference]
    against: str
    """As in `Verdict`."""
    note: str | None = None
    is_exam: bool = False
    """Whether these are the few answers that the folder brings along."""

    def limits(self, engine: EngineSpec) -> Limits:
        return (self_test_limits if self.is_exam else LIMITS.__getitem__)(engine.precision)


def _references(
    bundle: Bundle,
    work: Bundle,
    images: Sequence[NDArray[np.uint8]],
    threads: int | None,
    say: Say,
    each: Steps,
) -> tuple[_Reference, _Reference]:
    """What TRUSTED is held against, and what all others are: its answers, if it can be trusted."""
    say("running the FP32 graphs")
    loader = _trusted()
    name = loader.name
    with Segmenter(work, ShapeCheckedLoader(loader, bundle, EngineSpec(name)), threads=threads) as segmenter:
        self_test = read_self_test(bundle, segmenter)
        wrong = self_test and find_violations(measure(segmenter, [self_test]), "fp32", self_test_limits("fp32"))
        asked = [] if wrong else ask(segmenter, images, each)
    if self_test is None:
        return _Reference(asked, ITSELF, UNKNOWN), _Reference(asked, ONNX)
    if not wrong:
        return _Reference([self_test], PYTORCH, is_exam=True), _Reference(asked, ONNX)
    note = (
        f"{name} gives other answers here than PyTorch did at export ({wrong[0]}), and nothing can be held "
        f"against it: export the model again, or, if that changes nothing, install another {name.split(':')[0]}"
    )
    known = _Reference([self_test], PYTORCH, note, is_exam=True)
    return known, known


def _judge(
    work: Bundle,
    engine: EngineSpec,
    loader: GraphLoader,
    reference: _Reference,
    found: Mapping[str, float],
    repair: bool,
    say: Say,
) -> tuple[Verdict, Bundle]:
    """Judge what was measured of an engine, and find out or mend what is wrong with it."""
    limits = reference.limits(engine)
    violations = find_violations(found, engine.precision, limits)
    raised: Sequence[str] = ()
    departs = None
    repaired = None
    # Both need onnx, which a device that only runs engines may not have, and more than the exam's few answers.
    if violations and repair and not reference.is_exam and find_spec("onnx"):
        if engine.precision == "fp32":
            if _can_show(work, engine, reference):
                say(f"finding where {engine} departs")
                departs = _first_departure(work, loader, reference.expected[0])
        else:
            repaired = _mend(work, engine, reference.expected, say)
    if repaired is not None:
        work, found, raised = repaired
        violations = []
    kept: Mapping[str, float] = result(
        found, engine.precision, against_onnx=reference.against != PYTORCH, limits=limits
    )
    # What agrees with itself has shown nothing: it is as good as was known before.
    if violations or reference.against != ITSELF:
        fidelity = {**work.manifest.fidelity, engine.key: kept}
        work = Bundle(work.path, replace(work.manifest, fidelity=fidelity))
    verdict = Verdict(
        engine, kept, reference.against, violations, repaired is not None, raised, departs, reference.note
    )
    return verdict, work


def _can_show(work: Bundle, engine: EngineSpec, reference: _Reference) -> bool:
    """Whether TRUSTED can show where `engine` departs: it is another, and right on the first image."""
    loader = _trusted()
    name = loader.name
    if engine == EngineSpec(name):
        return False
    if reference.against == ONNX:
        return True
    with Segmenter(work, loader) as segmenter:
        return not find_violations(
            measure(segmenter, reference.expected[:1]), "fp32", reference.limits(EngineSpec(name))
        )


def _first_departure(work: Bundle, loader: GraphLoader, expected: Reference) -> str | None:
    """GRAPH/NODE (OPERATOR) where an FP32 engine first gives other values than the trusted one."""
    from .engines import feeds_of
    from .locate import first_departure

    with loader.trial() as trial:
        for name, feeds in feeds_of(work, [expected.image]).items():
            if feeds:
                found = first_departure(work.graph(name), trial, _trusted(), feeds[0], work.path)
                if found:
                    return f"{name}/{found}"
    return None


def _mend(
    work: Bundle, engine: EngineSpec, expected: Sequence[Reference], say: Say
) -> tuple[Bundle, dict[str, float], Sequence[str]] | None:
    """The engine with layers raised to float32, if that makes it pass."""
    from .engines import find_halves, repair, with_engine

    say(f"finding what {engine} can hold")
    halved = find_halves(work, [one.image for one in expected])
    try:
        halved, found = repair(halved, work, engine, expected, say)
    except FidelityError:
        return None
    except (EngineError, BundleError) as error:
        raise EngineError(
            f"{engine} fails, and it cannot be mended here: {error}; --no-repair measures it and no more"
        ) from error
    work = with_engine(work, engine, halved.write(engine, work.path))
    raised = {**work.manifest.raised, engine.graphs_key: halved.raised}
    return Bundle(work.path, replace(work.manifest, raised=raised)), found, halved.raised


def _trusted() -> Runtime:
    try:
        return find_runtime(TRUSTED)
    except MissingExtraError as missing:
        try:
            return find_runtime("reference")
        except MissingExtraError:
            raise missing from None
