"""Opening what has no TensorRT plan here yet: it is built first, as `sam-edge build` would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.errors import BundleError, FidelityError, OutputError
from sam_edge.fidelity.self_test import run_self_test, self_test_input_wh
from sam_edge.host.machine import this_machine
from sam_edge.progress import Progress
from sam_edge.sessions.choice import split_name
from sam_edge.sessions.session import Session, SessionOptions

from .build import BuilderSettings
from .cache import PlanCache, graph_sha256
from .device import describe, find_gpu, plan_folder
from .plans import (
    build_request,
    build_requests,
    find_build_environment,
    graph_request,
    plan_requests,
)
from .session import TensorRtSession


def check_plans(graphs: Iterable[Path], device: str | None) -> None:
    """As `PlanBuilder.check`."""
    facts = describe(find_gpu(device)).facts()
    cache = PlanCache(plan_folder())
    for graph in graphs:
        cache.check(cache.verified(graph, facts))


def prepare(bundle: Bundle, engine: EngineSpec, progress: Progress) -> None:
    """As `PlanBuilder.prepare`; every step is shown once.

    Raises:
        FidelityError: what was built computes something else, now or at an earlier time; it has been removed.
        EngineError, MissingExtraError: nothing can be built here.
    """
    device = split_name(engine.runtime)[1]
    environment = find_build_environment(this_machine(), device)
    requests = plan_requests(bundle, engine, BuilderSettings())
    ready = {request.graph: environment.ready(request.graph) for request in requests}
    missing = [request for request in requests if ready[request.graph] is None]
    refused = [
        request.name
        for request in missing
        if environment.cache.find(request.graph, environment.device.facts(), ("refused",))
    ]
    if refused:
        raise FidelityError(
            f"{engine}: plans of {', '.join(refused)} that were built here computed something else than "
            "PyTorch and were refused",
            path=bundle.path,
            hint=f"choose another --runtime, or try again with sam-edge build {bundle.path} "
            f"--precision {engine.precision} --device {device}",
        )
    shown: set[str] = set()

    def show_once(step: str, done: float | None = None) -> None:
        if step not in shown:
            shown.add(step)
            progress(step, done)

    plans = {graph: plan for graph, plan in ready.items() if plan is not None}
    outcomes = build_requests(environment, missing, show_once)
    plans |= {request.graph: outcome.plan for request, outcome in zip(missing, outcomes, strict=True)}
    found = compare(bundle, engine, plans)
    if found:
        progress(found)


def compare(
    bundle: Bundle, engine: EngineSpec, plans: Mapping[Path, Path], input_wh: tuple[int, int] | None = None
) -> str | None:
    """Compare an engine that has unverified plans with PyTorch's answers, which are in its folder.

    Args:
        plans: graph -> its plan, of all graphs of the engine. Verified ones stay, whatever is found.
        input_wh: the one encoder input that the plans take; None: every one that the model takes.

    Returns:
        What was found, in a line; None where all are verified.

    Raises:
        FidelityError: it computes something else; the unverified plans are removed.
    """
    seals = {plan: PlanCache(plan.parent).seal(plan) for plan in plans.values()}
    unverified = {plan: seal for plan, seal in seals.items() if seal.state == "unverified"}
    if not unverified:
        return None
    try:
        found = _compare(bundle, engine, plans, input_wh)
    except FidelityError as error:
        for plan, seal in unverified.items():
            # One that cannot be removed stays unverified.
            with suppress(OutputError):
                PlanCache(plan.parent).judge(plan, seal, "refused")
        raise FidelityError(
            f"{error}; its plans were removed",
            path=bundle.path,
            hint=f"run sam-edge verify {bundle.path} --runtime {engine.runtime} --precision "
            f"{engine.precision}, which repairs what it can",
        ) from error
    for plan, seal in unverified.items():
        PlanCache(plan.parent).judge(plan, seal, "verified")
    return found


def _compare(
    bundle: Bundle, engine: EngineSpec, plans: Mapping[Path, Path], input_wh: tuple[int, int] | None
) -> str:
    asked_wh = self_test_input_wh(bundle.manifest.input_size)
    if input_wh not in {None, asked_wh}:
        return "{} was not compared: PyTorch's answers are for an input of {}x{}".format(engine, *asked_wh)
    device = split_name(engine.runtime)[1]

    def open_plan(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return TensorRtSession(graph, replace(options, device=device), plan=plans[graph])

    found = run_self_test(bundle, engine, open_plan)
    if found is None:
        return f"{engine} was not compared: {bundle.path} has no answers of PyTorch, export the model again"
    return f"{engine}: mask IoU {found.mask_iou_mean:.4f} against PyTorch"


class PlanLoader:
    """Opens graphs of a model with plans of the cache, or builds those plans into it.

    Any plan that would be run is good, whatever settings it was built with. What is built stays unverified
    until the model is loaded.
    """

    def __init__(self, manifest: Manifest, device: str | None, progress: Progress) -> None:
        """For `cuda` or `cuda.N`.

        Raises:
            EngineError: no device here, or no driver that is new enough.
            MissingExtraError: TensorRT or a binding of CUDA is not installed.
        """
        self.environment = find_build_environment(this_machine(), device)
        self._manifest = manifest
        self._device = device
        self._progress = progress

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        plan = self.environment.ready(graph)
        if plan is None:
            names = list(self._manifest.graphs)
            number = names.index(self._name(graph)) + 1
            plan = self.build(graph, f"plan {number} of {len(names)}", self.environment.cache)
        return self.open(graph, options, plan)

    @contextmanager
    def trial(self, most: int | None = None) -> Iterator[PlanTrial]:
        with TemporaryDirectory(prefix="sam-edge-plans-") as folder:
            yield PlanTrial(self, PlanCache(Path(folder)), most)

    def open(self, graph: Path, options: SessionOptions, plan: Path) -> Session:
        """Open a graph with a plan of it."""
        return TensorRtSession(graph, replace(options, device=self._device), plan=plan)

    def build(self, graph: Path, which: str, cache: PlanCache) -> Path:
        """Build the plan of a file into a cache, saying which of how many it is."""

        def show(step: str, done: float | None = None) -> None:
            self._progress(f"{step} ({which})", done)

        request = graph_request(self._manifest, self._name(graph), graph, BuilderSettings())
        return build_request(replace(self.environment, cache=cache), request, show).plan

    def _name(self, graph: Path) -> str:
        """The graph of the model that a file is made from: it has that graph's name in its own."""
        parts = graph.name.split(".")
        for name in self._manifest.graphs:
            if name in parts:
                return name
        raise BundleError(f"{graph} is made from no graph of {self._manifest.name}", path=graph)


class PlanTrial:
    """Opens graphs that are tried, with plans in a folder that lasts as long as the trial."""

    def __init__(self, loader: PlanLoader, cache: PlanCache, most: int | None) -> None:
        self._loader = loader
        self._cache = cache
        self._of_most = f" of at most {most}" if most else ""
        self._plans: dict[str, Path] = {}
        """Hash of a graph -> its plan."""

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        key = graph_sha256(graph)
        plan = self._loader.environment.ready(graph) or self._plans.get(key)
        if plan is None:
            which = f"plan {len(self._plans) + 1}{self._of_most}"
            plan = self._plans[key] = self._loader.build(graph, which, self._cache)
        return self._loader.open(graph, options, plan)

    def keep(self, graphs: Iterable[Path]) -> None:
        """Put the plans of these graphs into the cache."""
        kept = self._loader.environment.cache
        for graph in graphs:
            plan = self._plans.get(graph_sha256(graph))
            if plan is not None:
                seal = self._cache.check(plan)
                with kept.lock(lambda: None):
                    kept.write(kept.folder / plan.name, plan.read_bytes(), seal)
