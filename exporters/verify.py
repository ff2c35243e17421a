"""Holding the engines of a model folder against its FP32 graphs, on the device that will run them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle import ASSETS, MANIFEST, Bundle, write_bundle
from sam_edge.errors import BundleError, EngineError, FidelityError, InputError, MissingExtraError
from sam_edge.files import write_bytes
from sam_edge.manifest import Engine, dump
from sam_edge.runtime import OpenRuntime, find_runtime, split_name
from sam_edge.segmenter import Segmenter, passed

from .frames import Frames
from .gate import Expected, Steps, ask, judge, measure, result
from .openers import Opener, Say, find_opener

TRUSTED = "onnxruntime:cpu"
"""Runs the FP32 graphs that the others are held against: it did when they were held against PyTorch."""
ITSELF = (Engine("onnxruntime"), Engine(TRUSTED))


@dataclass(frozen=True)
class Verdict:
    """What was found about one engine."""

    engine: Engine
    found: Mapping[str, float]
    """As the manifest keeps it."""
    beyond: Sequence[str] = ()
    """Which limits it breaks, in words."""
    mended: bool = False
    """Whether its graphs were made anew because they failed."""
    raised: Sequence[str] = ()
    """GRAPH/NODE that were raised to float32 then, beyond what the ranges ask for."""
    departs_at: str | None = None
    """GRAPH/NODE (OPERATOR) where a failing fp32 engine first gives other values."""

    @property
    def passed(self) -> bool:
        return passed(self.found)


def engines_of(bundle: Bundle, runtimes: Sequence[str], precisions: Sequence[str]) -> list[Engine]:
    """The engines that these runtimes (none: the best one here) can open of a folder.

    Raises:
        InputError: unknown runtime, or a precision that the folder has for none of them.
    """
    found: list[Engine] = []
    for runtime in runtimes or (find_runtime()[0],):
        name, device = split_name(runtime)
        full = f"{name}:{device}" if device else name
        found.append(Engine(full))
        half = Engine(full, "fp16")
        if half.graphs_key in bundle.manifest.engines:
            found.append(half)
    found = [engine for engine in dict.fromkeys(found) if not precisions or engine.precision in precisions]
    if not found:
        where = ", ".join(runtimes) or "this machine"
        raise InputError(
            f"{bundle.path} has no {' or '.join(precisions)} engine for {where}: "
            "export it with --target and --precision"
        )
    return found


def verify(
    bundle: Bundle,
    engines: Sequence[Engine],
    images: Sequence[NDArray[np.uint8]],
    *,
    repair: bool = True,
    threads: int | None = None,
    say: Say = lambda step: None,
    each: Steps = lambda: None,
) -> tuple[list[Verdict], Bundle]:
    """Measure engines on pictures, and mend the fp16 ones that fail.

    Args:
        say: told what begins, is being tried, or built.
        each: called after every picture, once for the FP32 graphs and once an engine.

    Returns:
        A verdict an engine, and the bundle with what was found; nothing of it is stored yet. Mended graphs
        lie in the bundle's folder, if that is a new one.
    """
    with _workplace(bundle) as place:
        work = place
        # Without a device there is nothing to wait for.
        openers = [find_opener(engine.runtime, bundle.manifest, say) for engine in engines]
        say("running the FP32 graphs")
        with Segmenter(work, _trusted(), threads=threads) as segmenter:
            expected = ask(segmenter, images, each)
        verdicts = []
        for engine, opener in zip(engines, openers, strict=True):
            say(f"running {engine}")
            frames = Frames(opener)
            with Segmenter(work, frames, engine=engine, threads=threads) as segmenter:
                found = measure(segmenter, expected, each, frames.rms)
            verdict, work = _judge(work, engine, opener, expected, found, repair, say)
            verdicts.append(verdict)
        if not any(verdict.mended for verdict in verdicts):
            return verdicts, Bundle(bundle.path, work.manifest)
        return verdicts, _replaced(bundle, work)


def store(bundle: Bundle) -> bool:
    """Write the bundle's manifest into its folder; False for the models that ship inside the package."""
    if ASSETS in bundle.path.resolve().parents:
        return False
    write_bytes(bundle.path / MANIFEST, dump(bundle.manifest))
    return True


def _judge(
    work: Bundle,
    engine: Engine,
    opener: Opener,
    expected: Sequence[Expected],
    found: Mapping[str, float],
    repair: bool,
    say: Say,
) -> tuple[Verdict, Bundle]:
    """Judge what was measured of an engine, and find out or mend what is wrong with it."""
    beyond = judge(found, engine.precision)
    raised: Sequence[str] = ()
    departs = None
    mended = None
    # Both need onnx, which a device that only runs engines may not have.
    if beyond and repair and find_spec("onnx"):
        if engine.precision == "fp32":
            say(f"finding where {engine} departs")
            departs = _first_departure(work, opener, expected[0])
        else:
            mended = _mend(work, engine, expected, say)
    if mended is not None:
        work, found, raised = mended
        beyond = []
    kept: Mapping[str, float] = result(found, engine.precision, against_onnx=True)
    stored = work.manifest.measured(engine)
    if not beyond and engine in ITSELF and stored is not None:
        # What the others are held against agrees with itself; how good it is, PyTorch said at export.
        kept = stored
    fidelity = {**work.manifest.fidelity, engine.key: kept}
    work = Bundle(work.path, replace(work.manifest, fidelity=fidelity))
    return Verdict(engine, kept, beyond, mended is not None, raised, departs), work


def _first_departure(work: Bundle, opener: Opener, expected: Expected) -> str | None:
    """GRAPH/NODE (OPERATOR) where an FP32 engine first gives other values than the trusted one."""
    from .engines import feeds_of
    from .locate import first_departure

    with opener.trial() as trial:
        for name, feeds in feeds_of(work, [expected.image]).items():
            if feeds:
                found = first_departure(work.graph(name), trial, _trusted(), feeds[0], work.path)
                if found:
                    return f"{name}/{found}"
    return None


def _mend(
    work: Bundle, engine: Engine, expected: Sequence[Expected], say: Say
) -> tuple[Bundle, dict[str, float], Sequence[str]] | None:
    """The engine with layers raised to float32, if that makes it pass."""
    from .engines import find_halves, mend, with_engine

    say(f"finding what {engine} can hold")
    halved = find_halves(work, [one.image for one in expected])
    try:
        halved, found = mend(halved, work, engine, expected, say)
    except FidelityError:
        return None
    except (EngineError, BundleError) as error:
        raise EngineError(
            f"{engine} fails, and it cannot be mended here: {error}; --no-repair measures it and no more"
        ) from error
    work = with_engine(work, engine, halved.write(engine, work.path))
    raised = {**work.manifest.raised, engine.graphs_key: halved.raised}
    return Bundle(work.path, replace(work.manifest, raised=raised)), found, halved.raised


def _trusted() -> OpenRuntime:
    try:
        return find_runtime(TRUSTED)[1]
    except MissingExtraError:
        return find_runtime("reference")[1]


@contextmanager
def _workplace(bundle: Bundle) -> Iterator[Bundle]:
    """The bundle in a folder that may be written to; its files are links to the real ones."""
    with TemporaryDirectory(prefix="sam-edge-verify-") as folder:
        for file in bundle.manifest.files:
            os.symlink((bundle.path / file).resolve(), Path(folder) / file)
        yield Bundle(Path(folder), bundle.manifest)


def _replaced(bundle: Bundle, work: Bundle) -> Bundle:
    """Put what was mended in the place of the old folder, whole or not at all."""
    with TemporaryDirectory(dir=bundle.path.parent, prefix=f".{bundle.path.name}-verify-") as folder:
        for file in work.manifest.files:
            shutil.copyfile(work.path / file, Path(folder) / file)
        return write_bundle(bundle.path, work.manifest, Path(folder))
