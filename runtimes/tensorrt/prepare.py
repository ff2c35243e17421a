"""Opening what has no TensorRT plan here yet: it is built first, as `sam-edge build` would."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Manifest
from sam_edge.errors import BundleError, FidelityError, OutputError
from sam_edge.fidelity.self_test import run_self_test, self_test_input_wh
from sam_edge.host.machine import this_machine
from sam_edge.sessions.backends import split_name
from sam_edge.sessions.session import Session, SessionOptions

from .plan_cache import discard_plan, graph_sha256, plan_path
from .plan_verdicts import accept_plan, refuse_plan, unverified_plans, was_refused
from .plans import (
    BuildEnvironment,
    PlanRequest,
    build_request,
    build_requests,
    find_build_environment,
    graph_request,
    keep_plan,
    plan_requests,
    ready_plan,
    request_key,
)
from .settings import BuilderSettings

Say = Callable[[str], None]

KEPT_TRIALS = 16
"""Plans of tried graphs that stay at hand. A search asks for most of them once and for a few again and again;
all of them would fill a small disk."""


def prepare(bundle: Bundle, engine: EngineSpec, say: Say) -> None:
    """Build all plans that an engine lacks here, and compare it with PyTorch before it is used.

    Args:
        say: told every step once, and why it is taken.

    Raises:
        FidelityError: what was built computes something else, now or at an earlier time; it has been removed.
        EngineError, MissingExtraError: nothing can be built here.
    """
    environment = find_build_environment(this_machine(), split_name(engine.runtime)[1])
    requests = plan_requests(bundle, engine, BuilderSettings())
    ready = {
        request.graph: ready_plan(request.graph, environment.device, environment.folder) for request in requests
    }
    missing = [request for request in requests if ready[request.graph] is None]
    refused = [request.name for request in missing if _was_refused(request, environment)]
    if refused:
        raise FidelityError(
            (
                f"{engine}: plans of {', '.join(refused)} that were built here computed something "
                "else than PyTorch and were refused"
            ),
            hint=(
                f"choose another --runtime, or try again with sam-edge build {bundle.path} "
                f"--precision {engine.precision} --device {split_name(engine.runtime)[1]}"
            ),
        )
    said: set[str] = set()

    def say_once(step: str, done: float) -> None:
        if step not in said:
            said.add(step)
            say(step)

    plans = {graph: plan for graph, plan in ready.items() if plan is not None}
    outcomes = list(build_requests(environment, missing, say_once))
    plans |= {request.graph: outcome.plan for request, outcome in zip(missing, outcomes, strict=True)}
    if told := compare(bundle, engine, plans):
        say(told)


def _was_refused(request: PlanRequest, environment: BuildEnvironment) -> bool:
    key = request_key(request, environment.device)
    return was_refused(plan_path(request.graph, key, environment.folder), key)


def compare(
    bundle: Bundle,
    engine: EngineSpec,
    plans: Mapping[Path, Path],
    loader: Callable[..., Session] | None = None,
    input_wh: tuple[int, int] | None = None,
) -> str | None:
    """Hold an engine with untried plans against PyTorch's answers that its folder brings along.

    Args:
        plans: graph -> its plan, of all graphs of the engine. Those that were tried stay, whatever is found.
        opener: TensorRT's, for the engine's device; None finds it.
        input_wh: the one encoder input that the plans take; None: every one that the model takes.

    Returns:
        What was found, in a line; None where nothing is untried.

    Raises:
        FidelityError: it computes something else; what was untried has been removed.
    """
    unverified = unverified_plans(plans)
    if not unverified:
        return None
    try:
        found = _sit(bundle, engine, plans, loader or _loader(split_name(engine.runtime)[1]), input_wh)
    except FidelityError as error:
        for plan, plan_sha256 in unverified.items():
            # One that cannot be removed stays untried.
            with suppress(OutputError):
                refuse_plan(plan, plan_sha256)
        raise FidelityError(
            f"{error}; its plans were removed",
            hint=(
                f"run sam-edge verify {bundle.path} --runtime {engine.runtime} --precision "
                f"{engine.precision}, which mends what it can"
            ),
        ) from error
    for plan, plan_sha256 in unverified.items():
        accept_plan(plan, plan_sha256)
    return found


def _sit(
    bundle: Bundle,
    engine: EngineSpec,
    plans: Mapping[Path, Path],
    loader: Callable[..., Session],
    input_wh: tuple[int, int] | None,
) -> str:
    asked_wh = self_test_input_wh(bundle.manifest.input_size)
    if input_wh not in {None, asked_wh}:
        return "{} was not compared: PyTorch's answers are for an input of {}x{}".format(engine, *asked_wh)

    def open_plan(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        return loader(graph, options, plan=plans[graph])

    found = run_self_test(bundle, engine, open_plan)
    if found is None:
        return f"{engine} was not compared: {bundle.path} has no answers of PyTorch, export the model again"
    return f"{engine}: mask IoU {found.mask_iou_mean:.4f} against PyTorch"


class PlanLoader:
    """Opens graphs of a model with plans of the cache, or builds those plans into it.

    Any plan that the runtime would load is good, whatever settings it was built with: it is what will be run.
    What is built stays untried, until the model is opened: who judges here may not be able to keep the verdict.
    """

    def __init__(self, manifest: Manifest, device: str | None, say: Say) -> None:
        """For `cuda` or `cuda.N`.

        Raises:
            EngineError: no device here, or no driver that is new enough.
            MissingExtraError: TensorRT or a binding of CUDA is not installed.
        """
        self.environment = find_build_environment(this_machine(), device)
        self.loader = _loader(device)
        self.say = say
        self._manifest = manifest

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        plan = self.plan(graph, self.environment)
        if plan is None:
            request = self.request(graph)
            names = list(self._manifest.graphs)
            plan = self.build(
                self.environment, request, f"plan {names.index(request.name) + 1} of {len(names)}"
            )
        return self.loader(graph, options, plan=plan)

    @contextmanager
    def trial(self, most: int | None = None) -> Iterator[PlanTrial]:
        with TemporaryDirectory(prefix="sam-edge-plans-") as folder:
            yield PlanTrial(self, self.environment.elsewhere(Path(folder)), most)

    def plan(self, graph: Path, environment: BuildEnvironment) -> Path | None:
        """The plan that a workshop's folder has of a graph."""
        return ready_plan(graph, environment.device, environment.folder)

    def build(self, environment: BuildEnvironment, request: PlanRequest, which: str) -> Path:
        """Build a plan, saying which of how many it is."""
        return build_request(environment, request, lambda step, done: self.say(f"{step} ({which})")).plan

    def request(self, graph: Path) -> PlanRequest:
        """What to build for a file: made from a graph of the model, it has that graph's name in its own."""
        parts = graph.name.split(".")
        name = next((name for name in self._manifest.graphs if name in parts), None)
        if name is None:
            raise BundleError(f"{graph} is made from no graph of {self._manifest.name}")
        return graph_request(self._manifest, name, graph, BuilderSettings())


class PlanTrial:
    """Opens graphs that are tried with plans in a folder of their own; those used last stay there."""

    def __init__(self, openers: PlanLoader, environment: BuildEnvironment, most: int | None) -> None:
        self._openers = openers
        self._workshop = environment
        self._of_most = f" of at most {most}" if most else ""
        self._numbers: dict[str, int] = {}
        """Hash of a graph -> its number."""
        self._recent: OrderedDict[Path, None] = OrderedDict()

    def __call__(self, graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        cached = self._openers.plan(graph, self._openers.environment)
        if cached:
            return self._openers.loader(graph, options, plan=cached)
        plan = self._openers.plan(graph, self._workshop) or self._build(graph)
        self._recent[plan] = None
        self._recent.move_to_end(plan)
        while len(self._recent) > KEPT_TRIALS:
            discard_plan(self._recent.popitem(last=False)[0])
        return self._openers.loader(graph, options, plan=plan)

    def keep(self, graphs: Iterable[Path]) -> None:
        """Put the plans of these graphs into the cache."""
        for graph in graphs:
            plan = self._openers.plan(graph, self._workshop)
            if plan is not None:
                keep_plan(graph, plan, self._openers.environment.folder)

    def _build(self, graph: Path) -> Path:
        number = self._numbers.setdefault(graph_sha256(graph), len(self._numbers) + 1)
        request = self._openers.request(graph)
        return self._openers.build(self._workshop, request, f"plan {number}{self._of_most}")


def _loader(device: str | None) -> Callable[..., Session]:
    from .session import TensorRtSession

    def open_plan(graph: Path, options: SessionOptions = SessionOptions(), plan: Path | None = None) -> Session:
        return TensorRtSession(graph, replace(options, device=device), plan=plan)

    return open_plan
