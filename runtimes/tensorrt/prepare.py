"""Opening what has no TensorRT plan here yet: it is built first, as `sam-edge build` would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.errors import BundleError, FidelityError, OutputError
from sam_edge.fidelity.self_test import run_self_test, self_test_input_wh
from sam_edge.host.machine import this_machine
from sam_edge.progress import Progress
from sam_edge.sessions.backends import split_name
from sam_edge.sessions.session import Session, SessionOptions

from .build import BuilderSettings
from .cache import PlanCache
from .device import describe, find_gpu, plan_folder
from .plans import (
    BuildEnvironment,
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
    return f"{engine}: mask IoU {found['mask_iou_mean']:.4f} against PyTorch"


@dataclass(frozen=True)
class PlanLoader:
    """Opens graphs of a model with plans of the cache, or builds those that are missing.

    Any plan that would be run is good, whatever settings it was built with. What is built stays unverified
    until the model is loaded.
    """

    manifest: Manifest
    device: str | None
    progress: Progress
    environment: BuildEnvironment
    tried: BuildEnvironment | None = None
    """Where the plans of a trial are built; None outside of one."""
    most: int | None = None
    """How many a trial builds at most, if that is known."""

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        plan = self.environment.ready(graph) or (self.tried and self.tried.ready(graph)) or self._build(graph)
        return TensorRtSession(graph, replace(options, device=self.device), plan=plan)

    @contextmanager
    def trial(self, most: int | None = None) -> Iterator[PlanLoader]:
        with TemporaryDirectory(prefix="sam-edge-plans-") as folder:
            yield replace(self, tried=replace(self.environment, cache=PlanCache(Path(folder))), most=most)

    def keep(self, graphs: Iterable[Path]) -> None:
        """Put the plans that were tried for these graphs into the cache."""
        kept = self.environment.cache
        for graph in graphs:
            plan = self.tried.ready(graph) if self.tried else None
            if plan is not None:
                with kept.lock(lambda: None):
                    kept.write(kept.folder / plan.name, plan.read_bytes(), PlanCache(plan.parent).check(plan))

    def _build(self, graph: Path) -> Path:
        """Build a plan; a file made from a graph of the model has that graph's name in its own."""
        names = list(self.manifest.graphs)
        name = next((name for name in names if name in graph.name.split(".")), None)
        if name is None:
            raise BundleError(f"{graph} is made from no graph of {self.manifest.name}", path=graph)
        which = f"plan {names.index(name) + 1} of {len(names)}"
        if self.tried is not None:
            built = len(list(self.tried.cache.folder.glob("*.plan")))
            which = f"plan {built + 1}" + (f" of at most {self.most}" if self.most else "")

        def show(step: str, done: float | None = None) -> None:
            self.progress(f"{step} ({which})", done)

        request = graph_request(self.manifest, name, graph, BuilderSettings())
        return build_request(self.tried or self.environment, request, show).plan


def find_plan_loader(manifest: Manifest, device: str | None, progress: Progress) -> PlanLoader:
    """As `PlanBuilder.loader`; raises as `find_build_environment`."""
    return PlanLoader(manifest, device, progress, find_build_environment(this_machine(), device))
