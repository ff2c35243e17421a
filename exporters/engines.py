"""The engines of a model folder: float16 ones are made of the FP32 graphs, all are compared with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.exporters.half.bisect import Islands
from sam_edge.exporters.half.precision import Source, halve, read_source, save
from sam_edge.exporters.half.ranges import find_islands
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.gate import Reference, ask, measure
from sam_edge.fidelity.result import FidelityResult
from sam_edge.host.machine import this_machine
from sam_edge.progress import Progress, silent
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import backends, find_runtime, is_installed
from sam_edge.sessions.loaders import GraphLoader, find_graph_loader
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions, Wrapper
from sam_edge.storage.files import sha256
from sam_edge.tensors import Arrays

from .trusted import TRUSTED

EMULATION = EngineSpec("emulation", "fp16")
"""What float16 hardware computes, on any processor: float32 that is rounded wherever the engine is float16."""
PROCESSOR_OF = {"onnxruntime": TRUSTED, "openvino": "openvino:CPU"}
"""Target -> where an export is checked, the same on every machine; other devices are checked by `verify`."""
CALIBRATION_RUNS = 12
"""Of each graph, at most: a decoder's ranges change little from prompt to prompt."""


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
