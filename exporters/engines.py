"""Engines in float16: made from the FP32 graphs, compared with the model, repaired, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import EngineError, FidelityError, MissingExtraError
from sam_edge.exporters.half.bisect import ROUNDS, Islands, bisect_fp32_nodes
from sam_edge.exporters.half.precision import Source, halve, read_source, save
from sam_edge.exporters.half.ranges import find_islands
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.gate import Reference, ask, measure
from sam_edge.fidelity.result import LIMITS, FidelityResult
from sam_edge.host.machine import this_machine
from sam_edge.progress import Progress, silent
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import backends, find_runtime, is_installed
from sam_edge.sessions.loaders import GraphLoader, find_graph_loader
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions, Wrapper
from sam_edge.storage.files import sha256
from sam_edge.tensors import Arrays

Say = Callable[[str], None]

EMULATION = EngineSpec("emulation", "fp16")
"""What float16 hardware computes, on any processor: float32 that is rounded wherever the engine is float16."""
TRUSTED = "onnxruntime:cpu"
"""Runs the FP32 graphs to see their ranges, and the emulation. Its FP32 engine is checked whatever the targets
are: all others are made from the same graphs."""
PROCESSOR_OF = {"onnxruntime": TRUSTED, "openvino": "openvino:CPU"}
"""Target -> where an export is checked, the same on every machine; other devices are checked by `verify`."""
NAMED = 3
"""Layers that an error names."""
CALIBRATION_RUNS = 12
"""Of each graph, at most: a decoder's ranges change little from prompt to prompt."""

Attempt = Callable[["Fp16Model", Sequence[Reference]], FidelityResult]
"""Measures an engine with such islands on some of what is expected."""


class NotRepairedError(FidelityError):
    """No way was found to make an fp16 engine pass.

    Args:
        what: the error's line.
        tried: what was tried, and how near the best try came.
        hint: what the user can do.
    """

    def __init__(self, what: str, tried: str, hint: str) -> None:
        super().__init__(what, hint=hint)
        self.tried = tried


class _OutOfTriesError(Exception):
    """As many graphs were tried as the user allows."""


@dataclass(frozen=True, eq=False)
class Fp16Model:
    """The FP32 graphs of a model, and which of their nodes stay in float32."""

    sources: Mapping[str, Source]
    islands: Islands
    raised: Sequence[str] = field(default=())
    """GRAPH/NODE that stay in float32 because the gate failed, and not because of their ranges."""

    def order(self) -> dict[str, list[str]]:
        """Graph -> the nodes that compute in floating point, as they run."""
        return {name: [node.name for node in source.computing()] for name, source in self.sources.items()}

    def write(self, engine: EngineSpec, folder: Path, islands: Islands | None = None) -> dict[str, str]:
        """Write every graph for an engine; graph -> file name."""
        files = {}
        for name, source in self.sources.items():
            files[name] = f"{name}.{engine.name}.{engine.precision}.onnx"
            graph = halve(source, (islands or self.islands)[name], emulate=engine == EMULATION)
            save(graph, folder / files[name])
        return files


def feeds_of(bundle: Bundle, images: Sequence[NDArray[np.uint8]]) -> dict[str, list[Arrays]]:
    """What every graph of a model is fed when images and prompts go through it."""
    feeds: dict[str, list[Arrays]] = {name: [] for name in bundle.manifest.graphs}
    loader = find_runtime(TRUSTED)
    names = {graph.file: name for name, graph in bundle.manifest.graphs.items()}
    with Segmenter(bundle, _recording(loader, feeds, names)) as segmenter:
        ask(segmenter, images)
    return feeds


def find_halves(bundle: Bundle, images: Sequence[NDArray[np.uint8]]) -> Fp16Model:
    """Decide which nodes of a model can be float16, by what they do on images."""
    feeds = feeds_of(bundle, images)
    sources, islands = {}, {}
    for name in bundle.manifest.graphs:
        sources[name] = read_source(bundle.graph(name))
        islands[name] = (
            find_islands(sources[name], _spread(feeds[name])) if feeds[name] else _all(sources[name])
        )
    return Fp16Model(sources, islands)


def repair(
    halved: Fp16Model,
    bundle: Bundle,
    engine: EngineSpec,
    expected: Sequence[Reference],
    progress: Progress = silent,
    max_tries: int | None = None,
) -> tuple[Fp16Model, FidelityResult]:
    """Compare an fp16 engine with the model, and raise nodes to float32 until it passes.

    Args:
        halved: the model to begin with.
        bundle: in a folder that may be written to; the engine's files stay there.
        engine: EMULATION, or an engine of this machine.
        expected: the reference's answers.
        progress: shows what is being tried, and how long the rest may take.
        max_tries: how many sets of layers may be tried; None: as many as the search needs at most.

    Returns:
        The model that passes, and what was measured of it.

    Raises:
        NotRepairedError: it does not pass; nothing of it may be used.
    """
    most = most_graphs({name: len(nodes) for name, nodes in halved.order().items()})
    with loader_of(engine, bundle, progress).trial(most) as trial:

        def attempt(tried: Fp16Model, shown: Sequence[Reference]) -> FidelityResult:
            made = with_engine(bundle, engine, tried.write(engine, bundle.path))
            frames = Frames(trial)
            with Segmenter(made, frames, engine=engine) as segmenter:
                return measure(segmenter, shown, frames=frames)

        halved, found = _repair(halved, attempt, engine, expected, progress, max_tries)
        trial.keep(bundle.path / file for file in halved.write(engine, bundle.path).values())
    return halved, found


def most_graphs(nodes: Mapping[str, int]) -> int:
    """How many different graphs a repair may try.

    Args:
        nodes: graph -> how many of its nodes compute in floating point.
    """
    # All of them lowered and all raised; then one at a time: a half in every step, and what a round raises.
    halvings = (sum(nodes.values()) - 1).bit_length()
    return 2 * len(nodes) + ROUNDS * (halvings + 1)


def _repair(
    halved: Fp16Model,
    attempt: Attempt,
    engine: EngineSpec,
    expected: Sequence[Reference],
    progress: Progress,
    max_tries: int | None,
) -> tuple[Fp16Model, FidelityResult]:
    limits = LIMITS[engine.precision]
    found = attempt(halved, expected)
    if not found.violations(limits):
        return halved, found
    # One image that fails by itself is enough to find out why.
    failing = next((one for one in expected if attempt(halved, [one]).violations(limits)), None)
    shown = [failing] if failing else expected

    order = halved.order()
    most = most_graphs({name: len(nodes) for name, nodes in order.items()})
    most = most if max_tries is None else min(most, max_tries)
    total = sum(len(nodes) for nodes in order.values())
    tries: list[tuple[float, int]] = []
    """Mask IoU, and how many layers were in float32."""
    begun = monotonic()

    def passes(islands: Islands) -> bool:
        if len(tries) == most:
            raise _OutOfTriesError
        estimate = f", {_minutes((monotonic() - begun) / len(tries) * (most - len(tries)))}" if tries else ""
        step = f"finding the layers that {engine} spoils: try {len(tries) + 1} of at most {most}{estimate}"
        progress(step, len(tries) / most)
        result = attempt(replace(halved, islands=islands), shown)
        tries.append((result.mask_iou_mean, sum(len(nodes) for nodes in islands.values())))
        return not result.violations(limits)

    names: list[str] = []
    try:
        raised = bisect_fp32_nodes(order, halved.islands, passes)
        names = [f"{graph}/{node}" for graph, node in raised.nodes]
        why = raised.why
        if raised.passes:
            halved = replace(halved, islands=raised.islands, raised=[*halved.raised, *names])
            found = attempt(halved, expected)
            if not found.violations(limits):
                return halved, found
            why = "it then passes with one image and not with all"
    except _OutOfTriesError:
        why = f"no more than {most} tries are allowed"
    shown_names = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    tried = f"raising {len(names)} layers to float32 ({shown_names}) did not repair it; " if names else ""
    # With all layers in float32 it would not be an fp16 engine.
    partly = [one for one in tries if one[1] < total]
    if partly:
        mask_iou, count = max(partly)
        tried += (
            f"best of {len(tries)} tries: mask IoU {mask_iou:.4f} with {count} of {total} layers in float32; "
        )
    tried += why
    raise NotRepairedError(
        f"{engine} differs from the model: {', '.join(found.violations(limits))}; {tried}; nothing was written",
        tried,
        "use --precision fp32 for it" + (", or allow more --max-tries" if len(tries) == max_tries else ""),
    )


def _minutes(seconds: float) -> str:
    """Such as "14 min left at most"."""
    return f"{seconds / 60:.0f} min left at most" if seconds >= 90 else f"{seconds:.0f} s left at most"


def with_engine(bundle: Bundle, engine: EngineSpec, files: Mapping[str, str]) -> Bundle:
    """The bundle, with these files of its folder as the graphs of an engine."""
    manifest = bundle.manifest
    hashes = {
        path.name: sha256(path)
        for name in files.values()
        for path in (bundle.path / name, bundle.path / f"{name}.data")
        if path.exists()
    }
    engines = {**manifest.engines, engine.graphs_key: dict(files)}
    return Bundle(bundle.path, replace(manifest, files={**manifest.files, **hashes}, engines=engines))


def loader_of(engine: EngineSpec, bundle: Bundle, progress: Progress = silent) -> GraphLoader:
    """What opens an engine's graphs."""
    return find_graph_loader(TRUSTED if engine == EMULATION else engine.runtime, bundle.manifest, progress)


def measure_engine(
    bundle: Bundle, engine: EngineSpec, expected: Sequence[Reference], progress: Progress = silent
) -> FidelityResult:
    """How far an engine of a bundle is from what is expected."""
    frames = Frames(loader_of(engine, bundle, progress))
    with Segmenter(bundle, frames, engine=engine) as segmenter:
        return measure(segmenter, expected, progress, frames)


def chosen_here() -> str | None:
    """The runtime NAME:DEVICE that `load` chooses on this machine; None if that one does not start."""
    try:
        return find_runtime(None).name
    except (EngineError, MissingExtraError):
        return None


def is_here(runtime: str) -> bool:
    """Whether a runtime can be opened on this machine."""
    backend = backends().get(runtime)
    return backend is not None and is_installed(backend.library) and backend.score(this_machine()) > 0


def _recording(
    loader: SessionLoader, feeds: Mapping[str, list[Arrays]], names: Mapping[str, str]
) -> SessionLoader:
    """A loader whose sessions note what they are fed in `feeds`, by the graph's name; `names`: file -> name."""

    def open_recording(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return _Recording(loader(graph, options), feeds[names[graph.name]])

    return open_recording


class _Recording(Wrapper):
    """A session that notes what it is fed."""

    def __init__(self, engine: Session, seen: list[Arrays]) -> None:
        super().__init__(engine)
        self._seen = seen

    def run(self, feeds: Arrays) -> Arrays:
        self._seen.append({name: np.asarray(value) for name, value in feeds.items()})
        return super().run(feeds)


def _all(source: Source) -> frozenset[str]:
    """Every node: what was never seen at work stays as it is."""
    return frozenset(node.name for node in source.computing())


def _spread(feeds: list[Arrays]) -> list[Arrays]:
    """Evenly chosen ones, CALIBRATION_RUNS at most."""
    chosen = np.linspace(0, len(feeds) - 1, min(CALIBRATION_RUNS, len(feeds))).round().astype(int)
    return [feeds[index] for index in dict.fromkeys(chosen.tolist())]
