"""Raises layers of a float16 engine to float32 until it passes the gate, or says why none helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import FidelityError
from sam_edge.exporters.half.bisect import ROUNDS, Islands, bisect_fp32_nodes
from sam_edge.fidelity.frames import Frames
from sam_edge.fidelity.gate import Reference, measure
from sam_edge.fidelity.result import LIMITS, FidelityResult
from sam_edge.progress import Progress, silent
from sam_edge.segmenter import Segmenter

from .engines import Fp16Model, loader_of, with_engine

NAMED = 3
"""Layers that an error names."""

Attempt = Callable[[Fp16Model, Sequence[Reference]], FidelityResult]
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
